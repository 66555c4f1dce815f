import io

from rich.console import Console

from tracker_dagster.operations.status_view import print_status
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.settings import Settings
from tracker_dagster.warehouse import Warehouse


def test_in_a_pipe_no_table_name_is_cut(tmp_path):
    settings = Settings(data_dir=tmp_path, sim_url="http://127.0.0.1:9")
    Warehouse(settings.database).migrate()
    output = io.StringIO()
    print_status(settings, Console(file=output, width=80))
    words = set(output.getvalue().split())
    assert set(TABLES) <= words
    assert {"sessions", "quarantined"} <= words

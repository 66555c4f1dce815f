"""The graph as a whole: everything described, every job there, and what depends on what."""

import dagster as dg
import pytest

from tracker_dagster.assets.partitions import TRADING_DAYS
from tracker_dagster.assets.wiring import column_lineage
from tracker_dagster.definitions import build_defs
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.settings import Settings
from tracker_dagster.sources import vix_futures_csv
from tracker_dagster.sources.massive import parse
from tracker_dagster.sources.massive.flat_file_formats import Dataset
from tracker_dagster.sources.massive.records import Field

#: Columns that a run sets itself: its day, instants, feed, endpoint and settings.
NOT_MADE_FROM_DATA = {
    *("trade_date", "slot", "source", "available_at", "basis", "decision_at", "model", "inputs"),
    *("seed", "lane_filter", "top_n", "alpha", "surrogates", "action"),
    *("scenario", "move", "volatility_points"),
}
#: Every field of the vendor's answers that a parser reads.
REST_FIELDS = {
    path
    for layout in vars(parse).values()
    if isinstance(layout, tuple)
    for field in layout
    if isinstance(field, Field)
    for path in (".".join(place) for place in field.places)
}

#: Every asset with what it reads. Change it with the graph, and look at the change.
GRAPH = """
bars_1m: massive_flat_files massive_rest_api universe
contract_health: corporate_actions market_last openings option_chain option_day_aggs
    option_greeks positions stock_day_aggs structure_features treasury_yields
corporate_actions: massive_rest_api universe
earnings_calendar: massive_rest_api universe
friday_scorecard: model_scores outcomes premium_estimate_scores weekly_picks
gamma_by_expiry: option_greeks
gamma_by_strike: option_greeks
gamma_exposure: option_chain option_greeks
holding_calls: holdings pick_candidates weekly_picks
holdings: corporate_actions ledger positions
implied_forwards: corporate_actions market_last option_chain treasury_yields universe
index_bars: massive_flat_files massive_rest_api
iv_percentile: earnings_calendar iv_term_structure universe
iv_surface: option_greeks universe
iv_term_structure: iv_surface option_greeks universe
ledger:
market_last: massive_rest_api universe
massive_flat_files:
massive_rest_api:
model_compares: ledger model_scores pick_candidates positions weekly_picks
model_outcomes: bars_1m corporate_actions option_bars_1m pick_candidates stock_day_aggs weekly_picks
model_scores: model_outcomes
monday_report: contract_health friday_scorecard market_last openings positions promotions
    structure_features suitability universe weekly_picks
openings: ledger option_chain promotions weekly_picks
option_bars_1m: ledger market_last massive_rest_api openings option_chain option_day_aggs
    pick_candidates positions promotions stock_day_aggs weekly_picks
option_chain: massive_rest_api universe
option_contracts: massive_rest_api universe
option_day_aggs: massive_flat_files
option_greeks: corporate_actions implied_forwards index_bars market_last option_chain
    option_day_aggs stock_day_aggs treasury_yields
outcomes: corporate_actions index_bars ledger market_last positions stock_day_aggs weekly_picks
pick_candidates: corporate_actions market_last option_chain option_day_aggs option_greeks
    stock_day_aggs suitability universe
pick_changes: pick_candidates promotions weekly_picks
portfolio_risk: corporate_actions ledger market_last openings option_chain option_greeks
    positions stock_day_aggs universe
portfolio_stress: corporate_actions ledger market_last openings option_chain option_greeks
    positions stock_day_aggs universe
positions: corporate_actions index_bars ledger option_chain option_day_aggs stock_day_aggs
    treasury_yields
premium_estimate_scores: option_day_aggs stock_day_aggs suitability
promotions: ledger positions weekly_picks
realized_volatility: bars_1m corporate_actions stock_day_aggs universe
stock_day_aggs: massive_flat_files massive_rest_api universe
structure_features: bars_1m universe
suitability: corporate_actions stock_day_aggs treasury_yields universe
summary: contract_health holding_calls market_last model_compares model_scores openings outcomes
    pick_changes portfolio_risk portfolio_stress positions promotions structure_features universe
    weekly_picks
treasury_yields: massive_rest_api
universe: ledger
vendor_greeks: massive_rest_api option_greeks universe
vendor_open_interest: massive_rest_api option_chain universe
vix_futures_settlements:
vix_term_structure: index_bars vix_futures_settlements
weekly_picks: corporate_actions earnings_calendar iv_percentile market_last option_chain
    pick_candidates stock_day_aggs structure_features suitability universe
"""


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    # An address nobody listens on: loading the graph asks nobody anything.
    home = tmp_path_factory.mktemp("nowhere")
    return build_defs(Settings(data_dir=home / "data", sim_url="http://127.0.0.1:1"))


@pytest.fixture(scope="module")
def graph(definitions):
    return definitions.resolve_asset_graph()


@pytest.fixture(scope="module")
def nodes(graph):
    return {key.to_user_string(): graph.get(key) for key in sorted(graph.materializable_asset_keys)}


def test_the_graph_is_the_one_we_mean(graph):
    shown = [
        " ".join([f"{key.to_user_string()}:", *sorted(k.to_user_string() for k in parents)])
        for key in sorted(graph.get_all_asset_keys())
        for parents in [graph.get(key).parent_keys]
    ]
    assert shown == GRAPH.replace("\n    ", " ").strip().splitlines()


def test_every_asset_says_what_it_is(nodes):
    for name, node in nodes.items():
        assert len(node.description) > 40, name
        assert node.group_name != "default", name
        assert node.owners == ["team:tracker"], name
        assert "duckdb" in node.kinds, name
        assert node.code_version, name
        assert node.partitions_def == TRADING_DAYS, name
        assert node.backfill_policy.policy_type.name == "SINGLE_RUN", name
        assert node.check_keys, name
        assert node.metadata["dagster/table_name"] == f"main.{name}"


def test_every_column_is_described_as_its_table_is(nodes):
    for name, node in nodes.items():
        shown = {c.name: c for c in node.metadata["dagster/column_schema"].columns}
        table = TABLES[name]
        assert list(shown) == list(table.columns), name
        assert all(column.description for column in shown.values()), name
        required = {c for c, col in shown.items() if not col.constraints.nullable}
        assert set(table.replace_by) <= required, name


def test_columns_say_what_they_are_made_from(nodes):
    for name in nodes:
        table = TABLES[name]
        shown = column_lineage(table).deps_by_column
        traced = {column for column, sources in shown.items() if sources}
        wanted = set(table.columns) - NOT_MADE_FROM_DATA
        assert len(traced & wanted) >= 0.9 * len(wanted), (name, sorted(wanted - traced))
        for column, sources in table.made_from.items():
            assert column in table.columns, name
            for upstream, upstream_column in sources:
                if upstream in TABLES:
                    assert upstream_column in TABLES[upstream].columns, (name, column)
                elif upstream == "massive_flat_files":
                    assert upstream_column in Dataset.OPTION_DAY.columns, (name, column)
                elif upstream == "vix_futures_settlements":
                    assert upstream_column in vix_futures_csv.COLUMNS, (name, column)
                else:
                    assert upstream == "massive_rest_api", (name, column)
                    assert upstream_column in REST_FIELDS, (name, column, upstream_column)


def test_column_lineage_runs_only_along_dependencies(nodes, graph):
    for name in nodes:
        ancestors = {k.to_user_string() for k in graph.get_ancestor_asset_keys(dg.AssetKey(name))}
        named = {upstream for sources in TABLES[name].made_from.values() for upstream, _ in sources}
        assert named <= ancestors, (name, named - ancestors)


def test_every_schedule_and_sensor_starts_a_job_that_is_there(definitions):
    repository = definitions.get_repository_def()
    jobs = {job.name for job in repository.get_all_jobs()}
    assert jobs >= {"daily", "flat_files", "history", "refresh", "chain_capture", "maintenance"}
    for schedule in repository.schedule_defs:
        assert schedule.job_name in jobs
        assert schedule.execution_timezone == "America/New_York"
    started = {sensor.name: sensor.job_name for sensor in repository.sensor_defs if sensor.targets}
    assert set(started.values()) <= jobs
    assert len(repository.sensor_defs) == len(started) + 1  # the one that watches failures
    assert all(s.minimum_interval_seconds >= 30 for s in repository.sensor_defs)


def test_jobs_cover_every_asset_and_hold_their_order(definitions, nodes):
    covered = set()
    for name in ("daily", "flat_files", "history", "refresh", "chain_capture"):
        job = definitions.resolve_job_def(name)
        assert job.executor_def is dg.in_process_executor, name
        covered |= {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert covered == set(nodes)


def test_names_are_words_of_the_field_and_one_table_each(nodes):
    assert set(nodes) <= set(TABLES)
    for name in nodes:
        assert name == name.lower()
        assert not name.endswith(("_asset", "_table", "_df"))


def test_loading_the_graph_leaves_nothing_on_disk(tmp_path):
    build_defs(Settings(data_dir=tmp_path / "data", sim_url="http://127.0.0.1:1"))
    assert list(tmp_path.iterdir()) == []

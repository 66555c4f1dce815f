"""Sessions of which something was left undone: it is made by itself, and nothing else is."""

import io
import shutil
import signal
from functools import cached_property

import dagster as dg
import polars as pl
import pytest
from rich.console import Console

from tracker_dagster.assets import option_greeks, volatility_series
from tracker_dagster.assets.day_files import READ_FOR
from tracker_dagster.automation.jobs import DAY_FILES, FROM_DAY_FILES
from tracker_dagster.automation.sensors import FILES_TAG, day_files_published
from tracker_dagster.definitions import build_defs
from tracker_dagster.operations.daily import catch_up
from tracker_dagster.operations.workplace import Workplace
from tracker_dagster.trading_calendar import sessions_between
from tracker_dagster_tests.assets.place import (
    FIRST,
    LAST,
    NOW,
    PARTITION,
    PAST,
    TICKERS,
    Place,
    QuickMarket,
    stored_instance,
)
from tracker_dagster_tests.warehouse.children import child, hears

#: The six sessions that are looked at.
DAYS = sessions_between(PAST[0].replace(day=26), PAST[-1])
OPTIONS, STOCKS = "us_options_opra/day_aggs_v1", "us_stocks_sip/day_aggs_v1"
MINUTES, INDICES = "us_stocks_sip/minute_aggs_v1", "us_indices/day_aggs_v1"
#: What a session's Greeks lead to.
AFTER_GREEKS = {"option_greeks", "iv_surface", "iv_term_structure", "iv_percentile"}
AFTER_GREEKS |= {"vendor_greeks"}


class QuickWorkplace(Workplace):
    """A workplace whose clients do not insist for minutes."""

    @cached_property
    def market(self):
        return QuickMarket(self.settings)

    @cached_property
    def definitions(self):
        return build_defs(self.settings, {"market": self.market})


#: What came of decisions rests on minute bars, too, and on the days before.
OF_MODELS = ("model_outcomes", "model_scores")


class Home:
    """A home with Dagster's records beside it, and what its commands did."""

    def __init__(self, place, instance):
        self.place, self.instance = place, instance
        self.console = Console(file=io.StringIO(), width=500)
        self.known = {run.run_id for run in instance.get_runs()}

    def catch_up(self):
        workplace = QuickWorkplace(self.place.settings, self.console, self.instance)
        return catch_up(workplace, NOW, len(DAYS))

    def tick(self):
        resources = self.place.definitions.resources
        wanted = day_files_published.required_resource_keys
        context = dg.build_sensor_context(
            instance=self.instance, resources={name: resources[name] for name in wanted}
        )
        return day_files_published(context)

    def obey(self, request):
        """Run what a sensor asks for, no more."""
        assets = [key.to_user_string() for key in request.asset_selection]
        one = request.partition_key
        span = [one, one] if one else [request.tags[FIRST], request.tags[LAST]]
        first, last = (pl.Series(span).str.to_date()).to_list()
        tags = {FILES_TAG: request.tags[FILES_TAG]}
        return self.place.run(assets, first, last, tags=tags, instance=self.instance)

    @property
    def said(self):
        return self.console.file.getvalue()

    def new_runs(self):
        """Runs since the last look, oldest first: sessions, assets beside `universe`, success."""
        found = []
        for run in reversed(self.instance.get_runs()):
            if run.run_id not in self.known:
                self.known.add(run.run_id)
                first = run.tags.get(PARTITION) or run.tags[FIRST]
                last = run.tags.get(PARTITION) or run.tags[LAST]
                assets = {key.to_user_string() for key in run.asset_selection} - {"universe"}
                found.append(((first, last), assets, run.is_success))
        return found


def span(first, last=None):
    return str(first), str(last or first)


@pytest.fixture(scope="module")
def _whole(recorded, _settled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "home"
    shutil.copytree(_settled, folder)
    followed = {READ_FOR: [*TICKERS, "SPY"]}
    with stored_instance(folder / "dagster") as instance:
        # In the order in which one run reports them.
        for name in (*DAY_FILES, "treasury_yields", *FROM_DAY_FILES):
            for day in DAYS:
                metadata = followed if name == "bars_1m" else {}
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(name, partition=str(day), metadata=metadata)
                )
    return folder


@pytest.fixture
def home(sim, tmp_path, _whole):
    """A home of six sessions of which everything has been made."""
    shutil.copytree(_whole, tmp_path / "home")
    place = Place(tmp_path / "home", sim.url)
    with stored_instance(place.home / "dagster") as instance:
        yield Home(place, instance)


def replaced(sim, dataset, *days):
    for day in days:
        sim.fault("replaced", f"*{dataset}/*{day}*")


@pytest.fixture
def spoil(monkeypatch):
    """Lets the realised volatility of a session fail, until it is told of none."""
    compute = volatility_series.realized_history

    def spoiled(*bad):
        def broken(*arguments):
            if arguments[-1] in bad:
                raise ValueError(f"no volatility of {arguments[-1]}")
            return compute(*arguments)

        monkeypatch.setattr(volatility_series, "realized_history", broken)

    return spoiled


def test_where_all_is_there_nothing_is_run(home):
    assert home.catch_up()
    assert home.new_runs() == []
    assert "the last 6 published sessions are all there" in home.said
    assert "nothing left to make" in home.tick().skip_message


def test_a_step_that_failed_is_made_again_and_no_file_is_read_for_it(home, sim, spoil, requests):
    replaced(sim, MINUTES, DAYS[-1])
    spoil(DAYS[-1])
    assert not home.catch_up()
    assert f"no volatility of {DAYS[-1]}" in home.said
    assert home.new_runs() == [
        (span(DAYS[-1]), {"bars_1m", "realized_volatility", *OF_MODELS}, False),
        (span(DAYS[-1]), {"realized_volatility"}, False),
    ]
    spoil()
    before = requests.under("/flatfiles/us_")
    assert home.catch_up()
    assert home.new_runs() == [(span(DAYS[-1]), {"realized_volatility"}, True)]
    assert requests.under("/flatfiles/us_") == before
    assert home.catch_up()
    assert home.new_runs() == []


@pytest.mark.slow
def test_a_session_that_cannot_be_made_holds_up_no_other_and_is_tried_once_a_command(
    home, sim, spoil
):
    replaced(sim, MINUTES, DAYS[2], DAYS[3])
    spoil(DAYS[2])
    assert not home.catch_up()
    only = {"realized_volatility"}
    assert home.new_runs() == [
        # Two due days are one run.
        (span(DAYS[2], DAYS[3]), {"bars_1m", *only, *OF_MODELS}, False),
        (span(DAYS[2], DAYS[3]), only, False),
        # Then the bad one is set apart.
        (span(DAYS[2]), only, False),
        (span(DAYS[3]), only, True),
        # All that looks back over them is another run.
        (span(DAYS[4], DAYS[5]), {*only, *OF_MODELS}, True),
    ]
    assert not home.catch_up()
    assert home.new_runs() == [(span(DAYS[2]), only, False)]
    spoil()
    assert home.catch_up()
    # The later ones rest on its bars, which were there, not on what is computed of them.
    assert home.new_runs() == [(span(DAYS[2]), only, True)]


def test_sessions_from_before_there_were_volatilities_get_them(home, requests):
    names = {"iv_percentile", "realized_volatility", "vix_term_structure"}
    before = {name: home.place.rows(name) for name in names}
    files = requests.under("/flatfiles/us_")
    home.instance.wipe_assets([dg.AssetKey(name) for name in names])
    with home.place.warehouse.connection(read_only=False) as connection:
        for name in names:
            connection.execute(f"DELETE FROM {name} WHERE trade_date <= ?", [DAYS[-1]])
    assert home.catch_up()
    assert home.new_runs() == [(span(DAYS[0], DAYS[-1]), names, True)]
    assert requests.under("/flatfiles/us_") == files
    for name, rows in before.items():
        assert rows.height > 0
        assert home.place.rows(name).sort("trade_date").equals(rows.sort("trade_date")), name


@pytest.mark.feature(10)
@pytest.mark.slow
def test_an_empty_home_is_filled_in_one_run(place):
    with stored_instance(place.home / "dagster") as instance:
        home = Home(place, instance)
        assert home.catch_up()
        assert home.new_runs() == [(span(DAYS[0], DAYS[-1]), {*DAY_FILES, *FROM_DAY_FILES}, True)]
        assert home.catch_up()
        assert home.new_runs() == []


@pytest.mark.slow
def test_what_follows_from_greeks_that_failed_is_made_with_them(home, sim, monkeypatch):
    def broken(*_):
        raise ValueError("no Greeks")

    replaced(sim, OPTIONS, DAYS[-1])
    with monkeypatch.context() as patched:
        patched.setattr(option_greeks, "value", broken)
        assert not home.catch_up()
    assert "no Greeks" in home.said
    assert "option_day_aggs" in home.new_runs()[0][1]
    assert home.catch_up()
    assert home.new_runs() == [(span(DAYS[-1]), AFTER_GREEKS, True)]
    closes = home.place.rows("option_day_aggs", DAYS[-1]).select("symbol", "close")
    greeks = home.place.rows("option_greeks", DAYS[-1]).select("symbol", close="price")
    assert greeks.sort("symbol").equals(closes.sort("symbol"))


@pytest.mark.slow
def test_what_looks_back_over_a_replaced_file_is_made_again(home, sim):
    before = home.place.rows("stock_day_aggs", DAYS[2])
    replaced(sim, STOCKS, DAYS[2])
    replaced(sim, INDICES, DAYS[2])
    assert home.catch_up()
    assert not home.place.rows("stock_day_aggs", DAYS[2]).equals(before)
    read, after = home.new_runs()
    assert read[0] == span(DAYS[2])
    assert read[1] & set(DAY_FILES) == {"stock_day_aggs", "index_bars"}
    looking_back = {"iv_percentile", "realized_volatility", "vix_term_structure", *OF_MODELS}
    assert after == (span(DAYS[3], DAYS[-1]), looking_back, True)
    made = {name: home.place.rows(name) for name in FROM_DAY_FILES}
    assert home.place.run("flat_files", DAYS[0], DAYS[-1], instance=home.instance).success
    for name, rows in made.items():
        assert rows.equals(home.place.rows(name)), name


KILLED = """
from tracker_dagster_tests.assets.place import *
from tracker_dagster.warehouse import store
count = store.Warehouse.row_count
def midway(self, table):
    if table.name == "{asset}":
        say("midway")
        time.sleep(60)
    return count(self, table)
store.Warehouse.row_count = midway
place = Place(path, sys.argv[2])
instance = stored_instance(path / "dagster")
place.run(["bars_1m", "realized_volatility"], DAY, instance=instance)
"""


@pytest.mark.parametrize("asset", ["bars_1m", "realized_volatility"])
def test_a_step_that_was_killed_between_its_commit_and_its_report_is_made_again(home, sim, asset):
    replaced(sim, MINUTES, DAYS[-1])
    with child(KILLED.format(asset=asset), home.place.home, home.place.url) as writer:
        hears(writer, "midway")
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    home.new_runs()
    assert home.catch_up()
    assert home.new_runs() == [(span(DAYS[-1]), {asset, "realized_volatility", *OF_MODELS}, True)]
    assert home.catch_up()
    assert home.new_runs() == []


@pytest.mark.slow
def test_the_sensor_makes_what_failed_and_gives_up_after_three_runs(home, sim, spoil):
    replaced(sim, MINUTES, DAYS[-1])
    spoil(DAYS[-1])
    (request,) = home.tick().run_requests
    again = home.tick().run_requests[0]
    assert (again.run_key, again.tags) == (request.run_key, request.tags)
    assert not home.obey(request).success
    keys = set()
    for _ in range(3):
        (request,) = home.tick().run_requests
        assert [key.to_user_string() for key in request.asset_selection] == [
            "universe",
            "realized_volatility",
        ]
        keys.add(request.run_key)
        assert not home.obey(request).success
    assert len(keys) == 3
    given_up = home.tick()
    assert isinstance(given_up, dg.SkipReason)
    assert f"3 runs have failed on {DAYS[-1]}: realized_volatility" in given_up.skip_message
    # Another file is another matter.
    sim.clear_faults()
    (request,) = home.tick().run_requests
    spoil()
    assert home.obey(request).success
    assert isinstance(home.tick(), dg.SkipReason)


@pytest.mark.slow
def test_the_sensor_asks_for_one_run_at_a_time_earlier_days_first(home, sim):
    replaced(sim, MINUTES, DAYS[1], DAYS[2], DAYS[4])
    asked = []
    while not isinstance(answer := home.tick(), dg.SkipReason):
        (request,) = answer.run_requests
        one = request.partition_key
        days = (one, one) if one else (request.tags[FIRST], request.tags[LAST])
        asked.append((days, len(request.asset_selection)))
        assert home.obey(request).success
    # Files of neighbouring sessions in one run; then what looks back over them.
    assert asked == [
        (span(DAYS[1], DAYS[2]), 5),
        (span(DAYS[3]), 4),
        (span(DAYS[4]), 5),
        (span(DAYS[5]), 4),
    ]


def test_what_a_rebuild_has_not_come_to_yet_is_left_to_it(home):
    home.instance.wipe_assets([dg.AssetKey("iv_percentile")])
    job = home.place.definitions.resolve_job_def("history")
    run = home.instance.create_run_for_job(job)
    assert run.run_id[:8] in home.tick().skip_message
    home.instance.delete_run(run.run_id)
    assert home.tick().run_requests


def test_a_ticker_without_a_minute_is_looked_for_once(home):
    with home.place.warehouse.connection(read_only=False) as connection:
        connection.execute("DELETE FROM bars_1m WHERE ticker = 'SOFI'")
    # The files were read for it: that they have nothing of it is known.
    assert home.catch_up()
    assert isinstance(home.tick(), dg.SkipReason)
    assert home.new_runs() == []

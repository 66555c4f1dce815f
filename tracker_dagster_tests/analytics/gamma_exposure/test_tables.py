"""Sums of gamma exposure: published numbers, what counts and what does not, and how it adds up."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster.analytics.gamma_exposure import (
    gamma_by_expiry,
    gamma_by_strike,
    gamma_exposure,
)
from tracker_dagster.schemas.exposure import GAMMA_BY_EXPIRY, GAMMA_BY_STRIKE, GAMMA_EXPOSURE
from tracker_dagster_tests.analytics.gamma_exposure.chains import (
    DAY,
    EXPIRY,
    SLOT,
    contracts,
    random_chain,
)

#: Four contracts on an underlying at 100 and what is expected of them: OpenBB,
#: openbb_platform/extensions/derivatives/tests/test_options_exposure.py.
OPENBB = [
    {"right": right, "strike": strike, "open_interest": interest, "delta": delta, "gamma": gamma,
     "volume": volume}
    for right, strike, interest, delta, gamma, volume in (
        ("C", 100.0, 10, 0.6, 0.02, 5),
        ("P", 100.0, 8, -0.4, 0.03, 4),
        ("C", 105.0, 20, 0.4, 0.01, 10),
        ("P", 95.0, 12, -0.25, 0.015, 7),
    )
]  # fmt: skip
ADDITIVE = (
    "contracts_count", "counted_count", "call_open_interest", "put_open_interest",
    "call_gamma_usd_per_1pct", "put_gamma_usd_per_1pct", "call_delta_usd", "put_delta_usd",
)  # fmt: skip


def whole(rows: pl.DataFrame) -> dict:
    (row,) = gamma_exposure(rows).to_dicts()
    return row


def call(strike: float, interest: int | None, **more) -> dict:  # type: ignore[no-untyped-def]
    return {"right": "C", "strike": strike, "open_interest": interest, **more}


def put(strike: float, interest: int | None, **more) -> dict:  # type: ignore[no-untyped-def]
    return {"right": "P", "strike": strike, "open_interest": interest, "delta": -0.5, **more}


def test_published_example() -> None:
    rows = contracts(OPENBB)
    by_strike = {row["strike"]: row for row in gamma_by_strike(rows).to_dicts()}
    at_100 = by_strike[100]
    assert (at_100["call_open_interest"], at_100["put_open_interest"]) == (10, 8)
    assert at_100["gross_gamma_usd_per_1pct"] == pytest.approx(4400)
    assert at_100["net_gamma_naive_usd_per_1pct"] == pytest.approx(-400)
    assert at_100["call_delta_usd"] - at_100["put_delta_usd"] == pytest.approx(92_000)
    assert at_100["net_delta_usd"] == pytest.approx(28_000)
    row = whole(rows)
    assert row["call_open_interest"] + row["put_open_interest"] == 50
    assert row["gross_gamma_usd_per_1pct"] == pytest.approx(8200)
    assert row["net_gamma_naive_usd_per_1pct"] == pytest.approx(-200)
    assert row["put_call_open_interest"] == pytest.approx(0.6667, abs=5e-5)
    assert row["put_call_volume"] == pytest.approx(11 / 15)
    # Calls of 100 and of 105 have the same gamma: the outer strike is the wall.
    assert (row["call_wall"], row["put_wall"], row["net_wall"]) == (105, 100, 105)


def test_units_of_the_convention() -> None:
    # SqueezeMetrics: shares = gamma x OI x 100; dollars per 1 % = shares x S^2 / 100.
    row = whole(contracts([call(250, 7, gamma=0.004, spot=240.0, delta=0.4)]))
    assert row["net_gamma_naive_shares_per_usd"] == pytest.approx(0.004 * 7 * 100)
    assert row["net_gamma_naive_usd_per_1pct"] == pytest.approx(0.004 * 7 * 100 * 240**2 * 0.01)
    assert row["net_delta_usd"] == pytest.approx(0.4 * 7 * 100 * 240)


def test_a_net_short_book_stays_negative() -> None:
    row = whole(contracts([call(100, 10), put(100, 30)]))
    assert row["net_gamma_naive_usd_per_1pct"] < 0
    assert row["net_gamma_naive_shares_per_usd"] < 0
    assert row["gross_gamma_usd_per_1pct"] > 0
    (at_expiry,) = gamma_by_expiry(contracts([call(100, 10), put(100, 30)])).to_dicts()
    assert at_expiry["net_gamma_naive_usd_per_1pct"] == row["net_gamma_naive_usd_per_1pct"]


def test_half_dollar_strikes_stay_apart() -> None:
    rows = contracts([call(112, 10), call(112.5, 30), put(112.5, 5), put(113, 6)])
    assert gamma_by_strike(rows)["strike"].to_list() == [112, 112.5, 113]
    row = whole(rows)
    assert row["call_wall"] == 112.5
    assert row["max_pain"] in (112.5, 113)


def test_a_gamma_below_the_fourth_decimal_counts() -> None:
    # At an index level of 6,000 a vendor's four decimals are 0.0000; the exposure is not.
    rows = contracts(
        [call(6500, 40_000, gamma=0.00004, delta=0.02)], root="SPXW", spot=6000.0, style="european"
    )
    assert whole(rows)["call_gamma_usd_per_1pct"] == pytest.approx(0.00004 * 4e6 * 6000**2 * 0.01)


def test_adjusted_contracts_are_kept_out_and_counted() -> None:
    plain = [call(100, 10), put(95, 20)]
    adjusted = [
        call(100, 900, root="AAPL1", is_standard=False, shares_per_contract=150.0),
        put(40, 900, root="AAPL1", is_standard=False, status="ADJUSTED"),
    ]
    alone, beside = whole(contracts(plain)), whole(contracts(plain + adjusted))
    assert beside["excluded"] == "ADJUSTED 2"
    assert (beside["contracts_count"], beside["counted_count"]) == (4, 2)
    assert beside["open_interest_coverage"] == pytest.approx(30 / 1830)
    differ = {name for name in alone if alone[name] != beside[name]}
    assert differ == {"excluded", "contracts_count", "open_interest_coverage"}
    assert_frame_equal(
        gamma_by_strike(contracts(plain)), gamma_by_strike(contracts(plain + adjusted))
    )
    only = whole(contracts(adjusted))
    assert only["net_gamma_naive_usd_per_1pct"] is None
    assert only["reason"] == "no contract counts"


def test_the_multiplier_is_what_the_contract_delivers() -> None:
    ten = whole(contracts([call(100, 10, shares_per_contract=10.0)]))
    hundred = whole(contracts([call(100, 10)]))
    ratio = hundred["net_gamma_naive_usd_per_1pct"] / ten["net_gamma_naive_usd_per_1pct"]
    assert ratio == pytest.approx(10)
    unknown = whole(contracts([call(100, 10, shares_per_contract=None)]))
    assert (unknown["reason"], unknown["excluded"]) == ("no contract counts", "NO_MULTIPLIER 1")


def test_both_roots_of_an_index_are_the_index() -> None:
    rows = contracts(
        [
            call(6000, 100, root="SPX", years=0.04),
            call(6000, 50, root="SPXW"),
            put(6000, 30, root="SPXW"),
        ],
        spot=6000.0,
        gamma=0.002,
    )
    (at_strike,) = gamma_by_strike(rows).to_dicts()
    assert at_strike["underlying"] == "SPX"
    assert at_strike["call_open_interest"] == 150
    assert at_strike["call_gamma_usd_per_1pct"] == pytest.approx(0.002 * 15_000 * 6000**2 / 100)
    assert whole(rows)["naive_sign"] == "plausible"


@pytest.mark.parametrize(
    ("root", "sign"),
    [("SPY", "plausible"), ("RUTW", "plausible"), ("AAPL", "doubtful"), ("VIX", "doubtful"),
     ("XLF", "doubtful")],
)  # fmt: skip
def test_the_naive_sign_is_labelled(root: str, sign: str) -> None:
    assert whole(contracts([call(100, 10)], root=root))["naive_sign"] == sign


def test_nothing_is_signed_by_flow_yet() -> None:
    for make in (gamma_by_strike, gamma_by_expiry, gamma_exposure):
        (row,) = make(contracts([call(100, 10)])).to_dicts()
        assert row["net_gamma_flow_usd_per_1pct"] is None
        assert row["flow_reason"] == "no signed trades are stored"


def test_contracts_without_a_value_are_excluded_with_reasons() -> None:
    none = {"gamma": None, "delta": None, "implied_volatility": None}
    rows = contracts(
        [
            call(100, 10),
            call(90, 30, status="NO_TIME_VALUE", **none),
            put(95, None),
            put(90, 20),
            put(85, 5, status="NO_QUOTE", **none),
            put(80, 5, status="NO_QUOTE", **none),
            put(70, 0, status="NO_QUOTE", **none),
            put(60, None, expiry=EXPIRY + timedelta(days=28)),
        ]
    )
    row = whole(rows)
    assert (row["expiries_count"], row["expiry_focus"]) == (1, EXPIRY)
    assert row["excluded"] == "NO_OPEN_INTEREST 2, NO_QUOTE 2, NO_TIME_VALUE 1"
    assert (row["contracts_count"], row["counted_count"]) == (7, 2)
    assert row["open_interest_coverage"] == pytest.approx(30 / 70)
    # Open interest does not need a value, and neither does max pain.
    assert (row["call_open_interest"], row["put_open_interest"]) == (40, 30)
    by_strike = {r["strike"]: r for r in gamma_by_strike(rows).to_dicts()}
    assert 70 not in by_strike, "nobody holds it"
    at_90 = by_strike[90]
    assert at_90["call_gamma_usd_per_1pct"] is None
    assert at_90["net_gamma_naive_usd_per_1pct"] is None
    assert at_90["reason"] == "no call counts"
    assert at_90["put_gamma_usd_per_1pct"] == pytest.approx(0.02 * 2000 * 100**2 * 0.01)
    assert by_strike[95]["put_open_interest"] is None
    assert by_strike[95]["excluded"] == "NO_OPEN_INTEREST 1"
    # A side nobody holds has no gamma, which is a fact and no gap.
    assert by_strike[100]["put_gamma_usd_per_1pct"] == 0
    assert by_strike[100]["net_gamma_naive_usd_per_1pct"] > 0


def test_a_chain_without_open_interest_has_no_exposure() -> None:
    row = whole(contracts([call(100, None), put(100, None)]))
    for name in (*ADDITIVE[2:], "net_gamma_naive_usd_per_1pct", "gamma_flip", "call_wall",
                 "max_pain", "put_call_open_interest", "open_interest_coverage"):  # fmt: skip
        assert row[name] is None, name
    assert row["reason"] == "no contract counts"
    assert row["excluded"] == "NO_OPEN_INTEREST 2"
    assert row["flip_reason"] == "no contract can be repriced"


def test_a_chain_that_nobody_holds_has_a_row_that_says_so() -> None:
    row = whole(contracts([call(100, 0, volume=3), put(100, 0)]))
    assert row["reason"] == row["flip_reason"] == "no contract is open"
    assert (row["contracts_count"], row["expiries_count"]) == (0, 0)
    assert row["net_gamma_naive_usd_per_1pct"] is None


def test_what_is_exercised_at_once_counts_with_no_gamma() -> None:
    # An American put this deep is worth its exercise: no volatility, yet a delta of -1.
    exercised = {"status": "IMMEDIATE_EXERCISE", "implied_volatility": None, "gamma": 0.0}
    rows = contracts([call(100, 50), put(95, 200), put(180, 1000, **(exercised | {"delta": -1.0}))])
    without = whole(rows.filter(pl.col("strike") < 180))
    row = whole(rows)
    assert (row["counted_count"], row["excluded"]) == (3, None)
    assert row["open_interest_coverage"] == 1
    assert row["put_open_interest"] == 1200
    # 1,000 contracts of 100 shares at 100 dollars, short.
    assert row["put_delta_usd"] - without["put_delta_usd"] == pytest.approx(-10_000_000)
    assert row["put_gamma_usd_per_1pct"] == pytest.approx(without["put_gamma_usd_per_1pct"])
    assert row["gamma_flip"] == pytest.approx(without["gamma_flip"], rel=1e-12)
    (at_strike,) = gamma_by_strike(rows).filter(strike=180.0).to_dicts()
    assert at_strike["net_gamma_naive_usd_per_1pct"] == 0
    assert at_strike["reason"] is None


def test_a_chain_of_which_every_contract_has_expired_has_a_row_that_says_so() -> None:
    gone = {"expiry": DAY, "years": 0.0, "status": "EXPIRED", "gamma": None, "delta": None}
    rows = contracts(
        [call(20, 500, **gone), put(18, 200, **gone)], root="VIX", spot=19.0, style="european"
    )
    row = whole(rows)
    assert row["reason"] == row["flip_reason"] == "every contract has expired"
    assert (row["contracts_count"], row["counted_count"], row["expiries_count"]) == (0, 0, 0)
    assert (row["spot"], row["open_interest_session"]) == (19.0, DAY - timedelta(days=1))
    for name in ("net_gamma_naive_usd_per_1pct", "put_delta_usd", "gamma_flip", "max_pain",
                 "call_open_interest", "open_interest_coverage"):  # fmt: skip
        assert row[name] is None, name
    good, broken = GAMMA_EXPOSURE.schema.filter(gamma_exposure(rows))
    assert len(good) == 1, broken.counts()
    # Beside a chain that lives, each has its own.
    both = gamma_exposure(pl.concat([rows, random_chain(1, 40)]))
    assert dict(both.select("underlying", "reason").iter_rows()) == {
        "VIX": "every contract has expired",
        "AAPL": None,
    }


def test_volume_includes_what_was_opened_today() -> None:
    row = whole(contracts([call(100, 10, volume=5), call(101, 0, volume=7), put(99, 4)]))
    assert row["call_volume"] == 12
    assert row["put_volume"] is None
    assert row["put_call_volume"] is None


def test_expired_contracts_are_gone_and_those_expiring_today_are_not() -> None:
    # The morning's index options have settled; those of the afternoon live for ten minutes.
    rows = contracts(
        [
            call(6000, 500, root="SPX", expiry=DAY, years=0.0, status="EXPIRED"),
            call(6000, 40, root="SPXW", expiry=DAY, years=10 / 525_600, gamma=0.05),
            put(5900, 30, root="SPXW"),
        ],
        spot=6000.0,
    )
    row = whole(rows)
    assert row["call_open_interest"] == 40
    assert row["call_gamma_usd_per_1pct"] == pytest.approx(0.05 * 4000 * 6000**2 / 100)
    assert row["excluded"] is None
    assert gamma_by_expiry(rows)["expiry"].to_list() == [DAY, EXPIRY]


def test_rows_of_day_files_are_refused() -> None:
    # A day file holds no open interest: with another day's it would be an exposure that never was.
    rows = contracts([call(100, 10)], basis="day_file")
    for make in (gamma_by_strike, gamma_by_expiry, gamma_exposure):
        with pytest.raises(ValueError, match="captured chains alone"):
            make(rows)


@pytest.mark.parametrize(
    ("day", "session"),
    [
        (date(2026, 6, 3), date(2026, 6, 2)),
        (date(2026, 6, 1), date(2026, 5, 29)),  # over a weekend
        (date(2026, 5, 26), date(2026, 5, 22)),  # over Memorial Day
    ],
)
def test_open_interest_is_of_the_session_before(day: date, session: date) -> None:
    rows = contracts([call(100, 10)], trade_date=day)
    for make in (gamma_by_strike, gamma_by_expiry, gamma_exposure):
        assert make(rows)["open_interest_session"].to_list() == [session]


def test_exposures_add_up() -> None:
    rows = random_chain(3, 200)
    by_strike, by_expiry, row = gamma_by_strike(rows), gamma_by_expiry(rows), whole(rows)
    assert by_expiry.height == row["expiries_count"] == 5
    for name in ADDITIVE:
        assert by_strike[name].sum() == pytest.approx(row[name]), name
        assert by_expiry[name].sum() == pytest.approx(row[name]), name
    focus = by_expiry.sort(pl.col("call_open_interest") + pl.col("put_open_interest"))
    assert focus["expiry"][-1] == row["expiry_focus"]


def test_twice_the_open_interest_is_twice_the_exposure_at_the_same_levels() -> None:
    rows = random_chain(5, 150)
    once, twice = whole(rows), whole(rows.with_columns(pl.col("open_interest") * 2))
    doubled = [name for name in once if name.endswith(("_1pct", "_per_usd", "delta_usd"))]
    assert len(doubled) == 10
    for name in doubled:
        if once[name] is not None:
            assert twice[name] == pytest.approx(2 * once[name]), name
    assert once["gamma_flip"] is not None
    for name in ("call_wall", "put_wall", "net_wall", "max_pain", "put_call_open_interest"):
        assert twice[name] == once[name], name
    assert twice["gamma_flip"] == pytest.approx(once["gamma_flip"], rel=1e-12)


def test_chains_do_not_touch_each_other() -> None:
    chains = [
        random_chain(1, 40),
        random_chain(2, 40, root="UBER"),
        random_chain(1, 30, slot=SLOT - timedelta(minutes=15)),
    ]
    for make in (gamma_by_strike, gamma_by_expiry, gamma_exposure):
        together = make(pl.concat(chains))
        apart = pl.concat([make(chain) for chain in chains])
        assert_frame_equal(together, apart, check_row_order=False)
    flips = gamma_exposure(pl.concat(chains))
    assert flips.height == 3


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = random_chain(8, 120)
    for make in (gamma_by_strike, gamma_by_expiry, gamma_exposure):
        assert_frame_equal(make(rows), make(rows.reverse()), rel_tol=1e-12)
        assert make(rows).equals(make(rows))


def test_available_when_the_last_row_of_the_chain_was() -> None:
    late = SLOT + timedelta(minutes=3)
    rows = contracts([call(100, 10), put(100, 5, available_at=late)])
    assert gamma_by_strike(rows)["available_at"].unique().to_list() == [late]
    assert whole(rows)["available_at"] == late


def test_rows_obey_their_schemas() -> None:
    rows = pl.concat([random_chain(1), contracts([call(100, None), put(90, 3)], root="UBER")])
    for table, make in (
        (GAMMA_BY_STRIKE, gamma_by_strike),
        (GAMMA_BY_EXPIRY, gamma_by_expiry),
        (GAMMA_EXPOSURE, gamma_exposure),
    ):
        frame = make(rows)
        good, broken = table.schema.filter(frame)
        assert len(good) == frame.height > 0, broken.counts()
        assert make(rows.clear()).equals(table.empty())

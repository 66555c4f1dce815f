"""Assets of gamma exposure: what our gamma and the captured open interest add up to."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from tracker_dagster.analytics.gamma_exposure import (
    COLUMNS,
    chain_book,
    gamma_profile,
    interest_changes,
    not_renewed,
    repricing_gap,
    unsteady,
)
from tracker_dagster.analytics.gamma_exposure import gamma_by_expiry as sum_by_expiry
from tracker_dagster.analytics.gamma_exposure import gamma_by_strike as sum_by_strike
from tracker_dagster.analytics.gamma_exposure import gamma_exposure as sum_of_chains
from tracker_dagster.assets.chains import SNAPSHOT, slots_to_make
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.reports.option_charts import gamma_profile_chart
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.exposure import GAMMA_BY_EXPIRY, GAMMA_BY_STRIKE, GAMMA_EXPOSURE
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.trading_calendar import EASTERN, previous_session
from tracker_dagster.warehouse import Write

#: Share of a chain's open interest that must be in the sums, for its exposure to speak for it.
LEAST_COVERAGE = 0.5
#: Share of the gross gamma by which repricing without early exercise may differ from the sum.
REPRICING_TOLERANCE = 0.02
#: Why a day has no rows. The vendor's chain snapshot has no history: it shows the newest figure,
#: whatever date it is asked for.
NOT_CAPTURED = (
    "no valued chain was captured on the day, and open interest is taken from captures alone: "
    "a chain that is asked for later shows the newest figure, whatever date is asked for"
)


def _contracts(run: DayRun, slot: datetime) -> pl.DataFrame:
    """The contracts of every chain of a slot, with our gamma and the captured open interest."""
    return run.warehouse.read(
        OPTION_GREEKS,
        first=run.day,
        last=run.day,
        where={"basis": SNAPSHOT, "slot": slot},
        columns=list(COLUMNS),
    )


def _write_slots(
    run: DayRun, table: Table, add_up: Callable[[pl.DataFrame], pl.DataFrame]
) -> tuple[Outcome, list[datetime]]:
    """Write what ``add_up`` makes of each slot, a transaction a slot."""
    slots = slots_to_make(run, OPTION_GREEKS, table)
    results = []
    for slot in slots:
        rows = add_up(_contracts(run, slot))
        unit = {"trade_date": run.day, "slot": slot}
        results += run.warehouse.replace_many([Write(table, rows, unit, allow_empty=True)])
    metadata: dict[str, Any] = {"slots": [_clock(slot) for slot in slots]}
    if not slots:
        metadata["no_open_interest"] = NOT_CAPTURED
    return Outcome(results, metadata), slots


def _clock(slot: datetime) -> str:
    return f"{slot.astimezone(EASTERN):%H:%M}"


@trading_day_asset(GAMMA_BY_STRIKE, group="exposure", deps=("option_greeks",))
def gamma_by_strike(run: DayRun) -> Outcome:
    """Gamma and delta of each strike and expiry that somebody holds, at each captured slot."""
    outcome, _ = _write_slots(run, GAMMA_BY_STRIKE, sum_by_strike)
    return outcome


@trading_day_asset(GAMMA_BY_EXPIRY, group="exposure", deps=("option_greeks",))
def gamma_by_expiry(run: DayRun) -> Outcome:
    """Gamma, delta, walls and max pain of each expiry, at each captured slot."""
    outcome, _ = _write_slots(run, GAMMA_BY_EXPIRY, sum_by_expiry)
    return outcome


@trading_day_asset(
    GAMMA_EXPOSURE,
    group="exposure",
    deps=("option_greeks", "option_chain"),
    kinds=("numpy", "scipy"),
    checks={
        "open_interest_covered": "At least half of each chain's open interest is in the sums.",
        "open_interest_steady": "No contract's open interest differs between slots of the session.",
        "open_interest_renewed": "Each chain's open interest differs from the session before's.",
        "repricing_agrees": "Repriced at the spot, where the search for the flip begins, the net "
        "gamma is the sum's within 2 % of the gross gamma.",
    },
)
def gamma_exposure(run: DayRun) -> Outcome:
    """Net gamma, walls, max pain and gamma flip of each underlying, at each captured slot.

    Gamma is ours, not the vendor's; open interest is of the session before. The flip is searched by
    repricing the book over prices of the underlying, not by adding up strikes.
    """
    outcome, slots = _write_slots(run, GAMMA_EXPOSURE, sum_of_chains)
    rows = run.warehouse.read(GAMMA_EXPOSURE, first=run.day, last=run.day, where={"slot": slots})
    metadata: dict[str, Any] = {}
    if slots:
        last = rows.filter(pl.col("slot") == slots[-1])
        metadata = {"flips": _flips(last), **_picture(run, last)}
    return Outcome(
        outcome.results,
        {**outcome.metadata, **metadata},
        [*_interest_checks(run, slots), *_sum_checks(rows)],
    )


def _flips(rows: pl.DataFrame) -> dict[str, str]:
    """Flip, or why there is none, where the naive sign is plausible."""
    plausible = rows.filter(pl.col("naive_sign") == "plausible")
    return {
        row["underlying"]: row["flip_reason"] or f"{row['gamma_flip']:.2f} ({row['spot']:.2f} now)"
        for row in plausible.iter_rows(named=True)
    }


def _picture(run: DayRun, rows: pl.DataFrame) -> Mapping[str, Any]:
    """The chain with most gamma, of those whose naive sign is plausible where there are any."""
    shown = (
        rows.drop_nulls("net_gamma_naive_usd_per_1pct")
        .sort("naive_sign", "gross_gamma_usd_per_1pct", descending=True)
        .head(1)
        .to_dicts()
    )
    if not shown:
        return {}
    row = shown[0]

    def draw() -> str:
        contracts = _contracts(run, row["slot"]).filter(pl.col("underlying") == row["underlying"])
        title = f"{row['underlying']} gamma, {run.day} {_clock(row['slot'])}"
        profile = gamma_profile(chain_book(contracts))
        return gamma_profile_chart(sum_by_strike(contracts), row, profile, title)

    return picture(run, "gamma_profile", draw)


def _interest_checks(run: DayRun, slots: list[datetime]) -> list[Check]:
    """Open interest of the slots against the session's first capture and the last session's."""
    changed: dict[str, Any] = {}
    stale: dict[str, Any] = {}
    if slots:
        captured = run.warehouse.read(OPTION_CHAIN, first=run.day, last=run.day, columns=["slot"])[
            "slot"
        ]
        yesterday = previous_session(run.day)
        first = _interest(run, run.day, captured.min())  # type: ignore[arg-type]
        before = _interest(run, yesterday, run.warehouse.latest_slot(OPTION_CHAIN, yesterday))
        for slot in slots:
            here = _interest(run, run.day, slot)
            changed |= {
                f"{_clock(slot)} {name}": count
                for name, count in unsteady(interest_changes(first, here)).items()
            }
            stale |= {
                f"{_clock(slot)} {name}": count
                for name, count in not_renewed(interest_changes(before, here)).items()
            }
    return [
        Check("open_interest_steady", not changed, changed),
        Check("open_interest_renewed", not stale, stale),
    ]


def _interest(run: DayRun, day: Any, slot: datetime | None) -> pl.DataFrame:
    """Open interest by contract as one slot shows it; no rows where there is no such slot."""
    columns = ["underlying", "symbol", "open_interest"]
    where = {"slot": [] if slot is None else [slot]}
    return run.warehouse.read(OPTION_CHAIN, first=day, last=day, where=where, columns=columns)


def _sum_checks(rows: pl.DataFrame) -> list[Check]:
    """How much of what is held the sums speak for, and whether the flip's book is theirs."""
    # Where no open interest is known at all, none is covered.
    held = pl.col("contracts_count") > 0
    covered = pl.when(held).then(pl.col("open_interest_coverage").fill_null(0.0))
    limits = {
        "open_interest_covered": (covered, LEAST_COVERAGE, 1.0),
        "repricing_agrees": (repricing_gap(), 0.0, REPRICING_TOLERANCE),
    }
    checks = []
    for name, (figure, least, most) in limits.items():
        outside = rows.filter(~figure.is_between(least, most)).select(
            "slot", "underlying", figure.round(4).alias("figure")
        )
        named = {f"{_clock(slot)} {of}": figure for slot, of, figure in outside.iter_rows()}
        checks.append(Check(name, not named, named))
    return checks

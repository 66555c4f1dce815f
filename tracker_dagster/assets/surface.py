"""Assets `iv_surface` and `iv_term_structure`: smiles of expiries, volatility at fixed terms."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from tracker_dagster.analytics.volatility.smile_points import (
    CONTRACT_COLUMNS,
    EXPIRY,
    smile_points,
)
from tracker_dagster.analytics.volatility.surface import CONTRADICTED, OK, surface_rows
from tracker_dagster.analytics.volatility.term_structure import (
    STRIP_COLUMNS,
    SURFACE_COLUMNS,
    term_structure_rows,
)
from tracker_dagster.assets.chains import SNAPSHOT, in_words, units_to_make
from tracker_dagster.assets.reference import INDEX_UNDERLYINGS
from tracker_dagster.assets.universe import enabled_tickers
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.reports.surface import smile_chart, term_structure_chart
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.surface import IV_SURFACE, IV_TERM_STRUCTURE
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.warehouse import Unit, Write

#: Share of judged smiles that may show arbitrage before the check says so.
_ARBITRAGE = 0.05
#: Share of a smile's contracts whose quotes it should pass through, in the median.
_WITHIN = 0.5
#: Share of underlyings that should have a 30-day volatility.
_WITH_MONTH = 0.8
#: Term in years of the smile that is drawn: the one nearest to a month.
_SHOWN = 30 / 365


def _followed(run: DayRun) -> list[str]:
    """The universe of the day, the benchmarks and the indices."""
    return sorted({*enabled_tickers(run), *run.knobs.benchmarks, *INDEX_UNDERLYINGS})


def _read(
    run: DayRun, table: Table, unit: Unit, followed: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame:
    where = {"basis": unit["basis"], "slot": unit["slot"], "underlying": followed}
    return run.warehouse.read(table, first=run.day, last=run.day, where=where, columns=columns)


def _shown(run: DayRun, underlyings: pl.Series) -> str | None:
    """The underlying that is drawn: a benchmark where one of them is known."""
    known = underlyings.unique().sort().to_list()
    return next((name for name in (*run.knobs.benchmarks, *known) if name in known), None)


@trading_day_asset(
    IV_SURFACE,
    group="volatility",
    deps=("universe", "option_greeks"),
    kinds=("numba",),
    checks={
        "agrees_with_vendor": "No expiry's vendor volatilities contradict its own quotes.",
        "within_quotes": "Captured smiles pass through half of their quotes, in the median.",
        "butterfly_free": "Captured quotes ask for no negative density, in 95 of 100 expiries.",
        "calendar_free": "Captured total variance does not fall, in 95 of 100 expiries.",
    },
)
def iv_surface(run: DayRun) -> Outcome:
    """A slice of raw SVI through the out-of-the-money quotes of every expiry.

    For the universe, the benchmarks and the indices, from each captured chain and from the day
    files. The slice stored has no butterfly arbitrage; whether the quotes do is said beside it. An
    expiry of too few quotes, or whose quotes the vendor's own volatilities contradict, has a row
    without a smile.
    """
    followed = _followed(run)
    results, statuses = [], {}
    captured = [IV_SURFACE.empty()]
    pictures: dict[str, Any] = {}
    for unit in units_to_make(run, OPTION_GREEKS, IV_SURFACE):
        contracts = _read(run, OPTION_GREEKS, unit, followed, CONTRACT_COLUMNS)
        rows = IV_SURFACE.conform(surface_rows(contracts), **unit)
        results += run.warehouse.replace_many([Write(IV_SURFACE, rows, unit, allow_empty=True)])
        statuses[in_words(unit)] = dict(rows["status"].value_counts(sort=True).iter_rows())
        if unit["basis"] == SNAPSHOT:
            captured.append(rows)
        pictures = _smile_picture(run, unit, contracts, rows) or pictures
    of_quotes = pl.concat(captured)
    return Outcome(
        results,
        {
            "statuses": statuses,
            "fit_error": of_quotes["fit_error"].median(),
            "within_quotes": of_quotes["within_quotes"].median(),
            **pictures,
        },
        _surface_checks(of_quotes),
    )


def _surface_checks(captured: pl.DataFrame) -> list[Check]:
    contradicted = captured.filter(pl.col("status") == CONTRADICTED)
    named = sorted(set(contradicted["underlying"]))
    within = captured["within_quotes"].quantile(0.5)
    checks = [
        Check("agrees_with_vendor", not named, {"contradicted": named} if named else {}),
        Check("within_quotes", within is None or within >= _WITHIN, {"median": within}),
    ]
    for name in ("butterfly_free", "calendar_free"):
        judged = captured.drop_nulls(name)
        broken = judged.filter(~pl.col(name))
        share = broken.height / max(judged.height, 1)
        worst = broken["underlying"].value_counts(sort=True).head(5)
        checks.append(
            Check(name, share <= _ARBITRAGE, {"share": share, "most": dict(worst.iter_rows())})
        )
    return checks


def _smile_picture(
    run: DayRun, unit: Unit, contracts: pl.DataFrame, rows: pl.DataFrame
) -> dict[str, Any]:
    """The smile nearest to a month of one underlying, where any was fitted."""
    fitted = rows.filter(pl.col("status") == OK)
    name = _shown(run, fitted["underlying"])
    if name is None:
        return {}
    near = (pl.col("years") - _SHOWN).abs()
    expiry = fitted.filter(pl.col("underlying") == name).sort(near).row(0, named=True)
    same = [pl.col(column) == expiry[column] for column in EXPIRY]

    def draw() -> str:
        return smile_chart(expiry, smile_points(contracts).filter(*same), in_words(unit))

    return picture(run, "smile", draw)


@trading_day_asset(
    IV_TERM_STRUCTURE,
    group="volatility",
    deps=("universe", "option_greeks", "iv_surface"),
    kinds=("numpy",),
    checks={"has_a_month": "Four of five underlyings have a 30-day volatility."},
)
def iv_term_structure(run: DayRun) -> Outcome:
    """Volatility at the forward at fixed terms, by total variance between the expiries around each.

    Nothing is extrapolated: a term before the first expiry or after the last has no volatility,
    and ``missing`` says so. From captured quotes also the index of each chain, as the Cboe makes
    the VIX of SPX options.
    """
    followed = _followed(run)
    results, counts = [], {}
    pictures: dict[str, Any] = {}
    with_month = total = 0
    for unit in units_to_make(run, IV_SURFACE, IV_TERM_STRUCTURE):
        surface = _read(run, IV_SURFACE, unit, followed, SURFACE_COLUMNS)
        contracts = _read(run, OPTION_GREEKS, unit, followed, STRIP_COLUMNS)
        found = term_structure_rows(surface, contracts, is_quoted=unit["basis"] == SNAPSHOT)
        rows = IV_TERM_STRUCTURE.conform(found, **unit)
        results += run.warehouse.replace_many(
            [Write(IV_TERM_STRUCTURE, rows, unit, allow_empty=True)]
        )
        counts[in_words(unit)] = dict(rows["structure"].value_counts(sort=True).iter_rows())
        with_month += rows["iv_30d"].count()
        total += rows.height
        pictures = _term_picture(run, unit, surface, rows) or pictures
    return Outcome(
        results,
        {"structures": counts, **pictures},
        [
            Check(
                "has_a_month",
                with_month >= _WITH_MONTH * total,
                {"with": with_month, "underlyings": total},
            )
        ],
    )


def _term_picture(
    run: DayRun, unit: Unit, surface: pl.DataFrame, rows: pl.DataFrame
) -> dict[str, Any]:
    name = _shown(run, rows.filter(pl.col("expiries_count") > 1)["underlying"])
    if name is None:
        return {}
    row = rows.filter(pl.col("underlying") == name).row(0, named=True)
    expiries = surface.filter(pl.col("underlying") == name)
    return picture(
        run, "term_structure", lambda: term_structure_chart(row, expiries, in_words(unit))
    )

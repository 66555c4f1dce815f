"""The vendor's own end-of-day Greeks, fetched on demand, and how far ours are from them."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from tracker_dagster.analytics.vendor_agreement import Agreement, volatility_agreement
from tracker_dagster.assets.day_files import REST
from tracker_dagster.assets.plan_limits import gap, refused
from tracker_dagster.assets.universe import enabled_tickers
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.schemas.vendor_greeks import VENDOR_GREEKS
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.sources.errors import NotEntitledError, NotFoundError
from tracker_dagster.trading_calendar import EASTERN, day_file_available_at, session_on
from tracker_dagster.warehouse import Unit, Write

#: How long before the close the vendor looks at the market.
BEFORE_CLOSE = timedelta(minutes=15)
#: Median difference of volatility up to which the two agree, by what ours rests on: quotes of
#: about the same minute, or last trades of any time of the day.
TOLERANCE = {"snapshot": 0.01, "day_file": 0.03}
CHECK = "agrees_with_ours"


def _ours(run: DayRun) -> tuple[str, pl.DataFrame] | None:
    """Our volatilities of the day: of the slot that the vendor's are nearest to, else of files."""
    wanted = session_on(run.day).close - BEFORE_CLOSE
    rows = run.warehouse.read(
        OPTION_GREEKS,
        first=run.day,
        last=run.day,
        where={"status": "OK"},
        columns=["basis", "slot", "symbol", "implied_volatility", "delta"],
    )
    for basis in TOLERANCE:
        of_basis = rows.filter(pl.col("basis") == basis)
        slots = sorted(set(of_basis["slot"]), key=lambda slot: abs(slot - wanted))
        if slots and (basis == "day_file" or abs(slots[0] - wanted) <= BEFORE_CLOSE):
            return basis, of_basis.filter(pl.col("slot") == slots[0])
    return None


def _compared(run: DayRun, theirs: pl.DataFrame) -> Check:
    found = _ours(run)
    basis, ours = found or ("none", OPTION_GREEKS.empty())
    agreement: Agreement = volatility_agreement(ours, theirs)
    agrees = agreement.median is None or agreement.median <= TOLERANCE[basis]
    return Check(CHECK, agrees, {"basis": basis, **agreement._asdict()})


@trading_day_asset(
    VENDOR_GREEKS,
    group="volatility",
    deps=("universe", "option_greeks", "massive_rest_api"),
    kinds=("rest",),
    checks={CHECK: "The median difference to our volatilities is within tolerance."},
)
def vendor_greeks(run: DayRun) -> Outcome:
    """Off unless TRACKER_VENDOR_GREEKS is set: Massive's ``/options/v1/analytics`` of the universe.

    The vendor's page describes the fields in prose only; a row whose fields have other names than
    are expected here is refused, never stored as empty. How the endpoint names an index is not
    documented: indices are left out.
    """
    if not run.knobs.vendor_greeks:
        return Outcome([], {"off": "TRACKER_VENDOR_GREEKS is not set"}, [Check(CHECK, True)])
    # When they are delivered is not documented: not asked for before the day files are due.
    due = day_file_available_at(run.day)
    if run.now < due:
        waiting = f"not before {due.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"
        return Outcome([], {"waiting": waiting}, [Check(CHECK, True)])
    tickers = sorted({*enabled_tickers(run), *run.knobs.benchmarks})
    # Imported here: nobody else needs it, and most never do.
    from tracker_dagster.sources.massive.analytics import option_analytics

    try:
        fetched = option_analytics(run.market.rest, tickers, run.day)
    except (NotEntitledError, NotFoundError) as error:
        return refused(run, VENDOR_GREEKS, REST, error, CHECK)
    rows = fetched.with_columns(
        *option_symbol_columns(),
        rate="risk_free_rate",
        status=pl.when(pl.col("implied_volatility").is_null())
        .then(pl.lit("NOT_PRICED"))
        .otherwise(pl.lit("OK")),
    )
    frame = VENDOR_GREEKS.conform(
        rows,
        trade_date=run.day,
        source=REST,
        available_at=due,
        computed_at=session_on(run.day).close - BEFORE_CLOSE,
    )
    unit: Unit = {"trade_date": run.day, "source": REST}
    result, _ = run.warehouse.replace_many(
        [Write(VENDOR_GREEKS, frame, unit, allow_empty=True), gap(run, VENDOR_GREEKS, REST, None)]
    )
    counts = dict(frame["status"].value_counts(sort=True).iter_rows())
    return Outcome([result], {"status": counts}, [_compared(run, frame)])

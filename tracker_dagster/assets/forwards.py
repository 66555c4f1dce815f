"""Asset `implied_forwards`: what captured quotes say of each underlying's forwards."""

from datetime import datetime

import polars as pl

from tracker_dagster.analytics.rates import FALLBACK
from tracker_dagster.assets.chains import captured_chain, slots_to_make
from tracker_dagster.assets.rates import curve_on, dividends_on
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.reports.charts import bar_chart
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.rates import IMPLIED_FORWARDS
from tracker_dagster.warehouse import Unit, Write

#: Share of pairs of quotes that may contradict parity before the check says so.
MOST_VIOLATIONS = 0.01
_CHAIN = (
    "underlying", "root", "expiry", "right", "strike", "bid", "ask", "quote_status",
    "exercise_style", "is_standard", "available_at",
)  # fmt: skip


@trading_day_asset(
    IMPLIED_FORWARDS,
    group="volatility",
    deps=("option_chain", "market_last", "treasury_yields", "corporate_actions", "universe"),
    kinds=("numba",),
    checks={
        "parity_holds": "The quotes of at most one pair in a hundred contradict parity.",
        "rates_are_current": "Every rate is of the vendor's current curve, not the fallback.",
    },
)
def implied_forwards(run: DayRun) -> Outcome:
    """Forwards of each captured slot, by put-call parity where three pairs of quotes agree.

    American quotes have the right of early exercise taken out first. Elsewhere the forward is
    what spot, rate and declared dividends make it, with the reason; past the 60 days to which
    dividends are known none are assumed, and parity's carry stands for them.
    """
    frames: list[pl.DataFrame] = []
    writes: list[Write] = []
    for slot in slots_to_make(run, OPTION_CHAIN, IMPLIED_FORWARDS):
        frame = _forwards(run, slot)
        unit: Unit = {"trade_date": run.day, "slot": slot}
        writes.append(Write(IMPLIED_FORWARDS, frame, unit, allow_empty=True))
        frames.append(frame)
    results = run.warehouse.replace_many(writes) if writes else []
    rows = pl.concat(frames) if frames else IMPLIED_FORWARDS.empty()
    quoted, violations = int(rows["quoted_count"].sum()), int(rows["violations_count"].sum())
    sources = sorted(set(rows["rate_source"].fill_null("none")))
    current = all(source != "none" and not source.startswith(FALLBACK) for source in sources)
    by_source = rows["forward_source"].fill_null("none").value_counts().rows()
    metadata = {
        "slots": len(writes),
        "forwards": dict(sorted(by_source)),
        "pairs_quoted": quoted,
        "pairs_violating_parity": violations,
        "rate_sources": sources,
    }

    def carry() -> str:
        last = rows.filter(pl.col("slot") == pl.col("slot").max())
        median = last.group_by("underlying").agg(pl.col("carry").median()).sort("underlying")
        return bar_chart(median, "underlying", "carry", f"Implied carry {run.day}")

    return Outcome(
        results,
        metadata | picture(run, "carry", carry),
        [
            Check(
                "parity_holds",
                violations <= MOST_VIOLATIONS * quoted,
                {"violations": violations, "pairs": quoted},
            ),
            Check("rates_are_current", current, {"rate_sources": sources}),
        ],
    )


def _forwards(run: DayRun, slot: datetime) -> pl.DataFrame:
    """Rows of the table of one slot, as of the slot."""
    # Imported here: it brings scipy and numba, and most processes value nothing.
    from tracker_dagster.analytics import forwards

    chain, moment = captured_chain(run, slot, _CHAIN)
    dividends, sources = dividends_on(run, moment, chain["underlying"].unique().to_list())
    rows = forwards.implied_forwards(chain, moment, curve_on(run, moment), dividends)
    labelled = rows.join(sources, on="underlying", how="left", maintain_order="left")
    return IMPLIED_FORWARDS.conform(labelled, trade_date=run.day, slot=slot)

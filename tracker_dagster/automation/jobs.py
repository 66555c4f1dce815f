"""The jobs: which assets are materialised together."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from tracker_dagster.assets.openings import OPEN_TAG
from tracker_dagster.assets.partitions import TRADING_DAYS
from tracker_dagster.ledger.events import PAPER

#: Run tag that tells scheduled work from a person's; limits in dagster.yaml refer to it.
LANE_TAG = "tracker/lane"

REFERENCE = ("universe", "corporate_actions", "earnings_calendar")
DAY_FILES = ("stock_day_aggs", "option_day_aggs", "bars_1m", "index_bars")
#: What follows from the contracts' values, whichever basis these are of.
SURFACES = ("option_greeks", "iv_surface", "iv_term_structure", "iv_percentile")
#: What follows from day files.
FROM_DAY_FILES = (
    "corporate_actions",
    "treasury_yields",
    *SURFACES,
    "realized_volatility",
    "vix_term_structure",
    "option_bars_1m",
    "model_outcomes",
    "model_scores",
    "vendor_greeks",
    "vendor_open_interest",
    "premium_estimate_scores",
)
#: What follows from captured chains.
FROM_CHAINS = (
    "treasury_yields",
    "implied_forwards",
    *SURFACES,
    "gamma_by_strike",
    "gamma_by_expiry",
    "gamma_exposure",
)
DECISIONS = (
    "structure_features",
    "suitability",
    "pick_candidates",
    "weekly_picks",
    "positions",
    "holdings",
    "holding_calls",
    "promotions",
    "openings",
    "model_compares",
    "contract_health",
    "portfolio_risk",
    "portfolio_stress",
    "pick_changes",
    "outcomes",
    "friday_scorecard",
    "monday_report",
    "summary",
)


def _job(
    name: str,
    assets: tuple[str, ...],
    lane: str,
    description: str,
    tags: Mapping[str, str] | None = None,
) -> dg.UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*assets),
        partitions_def=TRADING_DAYS,
        description=description,
        tags={LANE_TAG: lane, **(tags or {})},
    )


daily = _job(
    "daily",
    (
        *REFERENCE,
        "option_contracts",
        "bars_1m",
        "option_chain",
        "market_last",
        *FROM_CHAINS,
        *DECISIONS,
        "option_bars_1m",
    ),
    "daily",
    "The session's decisions: universe → captures → volatilities → picks → positions → promotions "
    "→ openings → summary. Day files come in by themselves the next morning (job flat_files). "
    "Promoted picks are opened in the paper book.",
    {OPEN_TAG: PAPER},
)
flat_files = _job(
    "flat_files",
    ("universe", *DAY_FILES, *FROM_DAY_FILES),
    "flat_files",
    "Day and minute files of published sessions, of any range in one run, and what is computed "
    "from them: volatilities, surfaces, IV rank, realised volatility.",
)
history = _job(
    "history",
    tuple(
        dict.fromkeys(
            (
                *REFERENCE,
                *DAY_FILES,
                "option_chain",
                "market_last",
                *FROM_CHAINS,
                *FROM_DAY_FILES,
                *DECISIONS,
            )
        )
    ),
    "backfill",
    "Rebuilds a range of past sessions in one run, each from what was known on it. Captures are "
    "parsed again from raw; where there are none, the gap is stated.",
)
refresh = _job(
    "refresh",
    ("bars_1m", "market_last", "contract_health"),
    "refresh",
    "Minute bars, last prices and the health of open positions, every five minutes.",
)
chain_capture = _job(
    "chain_capture",
    ("option_chain", *FROM_CHAINS),
    "refresh",
    "Whole option chains, every fifteen minutes and at the decision time, with their forwards, "
    "volatilities, surfaces and gamma exposure.",
)

ALL = (daily, flat_files, history, refresh, chain_capture)

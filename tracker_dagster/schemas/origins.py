"""What the columns of features, decisions, positions and reports are made from; no schemas here.

A column made from another of the same table names that one's own sources. Columns that a run sets
itself (day, instants, basis, settings) and ``inputs``, which names what was read, are left out.
"""

from __future__ import annotations

from tracker_dagster.schemas.lineage import computed, straight, together

_BARS = ("bars_1m.close", "bars_1m.start", "bars_1m.is_regular")
#: Split-adjusted closes, and what is worked out from them.
_CLOSES = ("stock_day_aggs.close", "corporate_actions.split_from", "corporate_actions.split_to")
_PRICE = ("market_last.price", "stock_day_aggs.close")
_STRIKE = ("option_chain.strike", "option_day_aggs.strike")
_EXPIRY = ("option_chain.expiry", "option_day_aggs.expiry")
_MID = ("option_chain.mid", "option_day_aggs.close")
_QUOTE = ("option_chain.bid", "option_chain.ask")
_VOLUME = ("option_chain.day_volume", "option_day_aggs.volume")
_DELTA = (
    "option_chain.delta",
    "option_chain.implied_volatility",
    "option_chain.strike",
    "market_last.price",
)
#: What tells which calls pass and which of them is the lane's.
_CHOICE = (
    *_STRIKE, *_EXPIRY, *_MID, *_QUOTE, *_VOLUME, *_DELTA, *_CLOSES,
    "option_chain.quote_status", "option_chain.quote_at", "option_chain.is_standard",
    "option_day_aggs.is_adjusted", "option_chain.open_interest", "option_chain.underlying_price",
)  # fmt: skip
_SPLITS = ("corporate_actions.action", "corporate_actions.ex_date")

STRUCTURE_FEATURES = together(
    straight("universe", "ticker"),
    computed(
        "bars_1m_count history_status returns_count spectral_entropy fractal_roughness "
        "fft_p_value fractal_p_value fft_status fractal_status reason",
        *_BARS,
    ),
)

#: Inputs of a probability or a value that are not of the quote.
_VALUED = (
    *_STRIKE, *_EXPIRY, "option_greeks.forward", "option_greeks.rate",
    "option_greeks.implied_volatility", "option_chain.implied_volatility", *_PRICE,
)  # fmt: skip
_TRADED = (
    "option_day_aggs.volume", "option_day_aggs.transactions", "option_day_aggs.high",
    "option_day_aggs.low", "option_day_aggs.close", "option_day_aggs.trade_date",
)  # fmt: skip
PICK_CANDIDATES = together(
    computed("ticker", "ledger.payload", "option_chain.underlying", "option_day_aggs.underlying"),
    straight("option_chain", "symbol", "expiry", "strike"),
    straight("option_day_aggs", "symbol", "expiry", "strike"),
    straight("suitability", "lane", target_delta="lane"),
    straight("option_chain", "is_standard", "bid", "ask", "quote_status", "quote_at"),
    straight("option_chain", "open_interest", "underlying_price"),
    computed("is_standard", "option_day_aggs.is_adjusted"),
    computed("price", *_PRICE),
    computed("mid premium_source", *_MID),
    computed("spread_pct", *_QUOTE),
    computed("delta delta_source", *_DELTA, "option_greeks.delta"),
    computed(
        "implied_volatility volatility_source",
        "option_chain.implied_volatility",
        "option_greeks.implied_volatility",
    ),
    computed("day_volume", *_VOLUME),
    computed("dte", *_EXPIRY),
    computed("premium_yield annualised_yield break_even downside_protection", *_MID, *_PRICE),
    computed("otm_pct", *_STRIKE, *_PRICE),
    computed("static_return if_called_return", *_STRIKE, *_PRICE, *_MID),
    computed("assignment_probability assignment_probability_reason", *_VALUED),
    computed("forward_source", "option_greeks.forward", "option_greeks.status", *_PRICE, *_SPLITS),
    computed(
        "expected_value_100 expected_value_reason",
        *_VALUED, "option_chain.bid", "suitability.annual_volatility",
    ),
    computed("strike_quality strike_quality_reason", *_TRADED),
    computed("target_strike", *_PRICE, "suitability.daily_move", "suitability.lane"),
    computed(
        "strike_source failed_gate failed_gates choice_rank",
        *_CHOICE, *_SPLITS, "option_greeks.delta", "suitability.lane", "suitability.daily_move",
    ),
    computed(
        "gates_not_evaluated",
        *_QUOTE, *_VOLUME, *_SPLITS, "option_chain.quote_at", "option_chain.delta",
        "option_greeks.delta", "option_chain.open_interest", "option_chain.underlying_price",
    ),
)  # fmt: skip

WEEKLY_PICKS = together(
    computed("ticker category", "ledger.payload"),
    computed("status stage reason", *_PRICE, "market_last.price_at", "market_last.status"),
    computed("status stage reason rejections symbol strike_source", *_CHOICE),
    computed("lane lane_reason", *_CLOSES, "ledger.payload"),
    computed("price pack_100_cost cost_bucket", *_PRICE),
    computed("price_at", "market_last.price_at", "stock_day_aggs.trade_date"),
    computed("price_source", "market_last.slot"),
    computed("symbol", "option_chain.symbol", "option_day_aggs.symbol"),
    computed("strike", *_STRIKE),
    computed("expiry dte candidates_count", *_EXPIRY),
    computed("target_delta", *_CLOSES, "ledger.payload"),
    computed("target_strike expected_move_5d", *_PRICE, *_CLOSES),
    straight("option_chain", "bid", "ask", "implied_volatility", "open_interest", "quote_at"),
    straight("option_chain", premium_at_bid_100="bid"),
    computed("mid est_weekly_prem_100 premium_source", *_MID),
    computed("spread_pct score_liquidity", *_QUOTE),
    computed("delta delta_source", *_DELTA),
    computed("day_volume", *_VOLUME),
    computed(
        "premium_yield annualised_yield score_yield break_even downside_protection", *_MID, *_PRICE
    ),
    computed("otm_pct", *_STRIKE, *_PRICE),
    computed("static_return if_called_return", *_STRIKE, *_PRICE, *_MID),
    straight(
        "pick_candidates",
        "volatility_source",
        "assignment_probability",
        "expected_value_100",
        "expected_value_reason",
        "fees_100",
        "strike_quality",
    ),
    straight("iv_percentile", "iv_rank", "iv_percentile", iv_rank_reason="reason"),
    straight("iv_percentile", iv_rank_source="basis"),
    computed("price_age_minutes", "market_last.price_at", "stock_day_aggs.trade_date"),
    computed("rank rank_score", *_MID, *_PRICE, *_QUOTE, *_CLOSES),
    straight(
        "structure_features", "bars_1m_count", "history_status", "fft_status", "fractal_status"
    ),
    computed(
        "closes_count annual_volatility sharpe max_drawdown tail_width return_entropy coherence "
        "suitability downside_5d regime stats_reason score_suitability score_calm score_trend",
        *_CLOSES,
    ),
    computed(
        "earnings_in_period earnings_note",
        "earnings_calendar.report_date",
        "earnings_calendar.report_time",
        "earnings_calendar.status",
    ),
    computed("ex_dividend_in_period ex_dividend_note split_in_period split_note", *_SPLITS),
    computed(
        "gates_not_evaluated",
        *_QUOTE,
        *_VOLUME,
        *_SPLITS,
        "option_chain.quote_at",
        "option_chain.delta",
        "option_chain.implied_volatility",
        "option_chain.open_interest",
        "structure_features.fft_status",
        "structure_features.fractal_status",
        "earnings_calendar.report_date",
    ),
)

#: What the gates of a promotion look at, in picks and in what is held.
_GATED = (
    *(f"weekly_picks.{name}" for name in (
        "rank", "lane", "category", "symbol", "pack_100_cost", "price", "strike", "expiry",
        "premium_yield", "spread_pct", "bars_1m_count", "fft_status", "fractal_status",
        "earnings_in_period", "ex_dividend_in_period",
    )),
    "ledger.payload",
)  # fmt: skip
PROMOTIONS = together(
    straight(
        "weekly_picks", "ticker", "symbol", "category", "lane", "expiry", "strike", "premium_yield",
        "rank", "rank_score", "pack_100_cost", premium_100="est_weekly_prem_100",
    ),
    computed("decision reason reasons not_evaluated gates cash_before cash_after", *_GATED),
)  # fmt: skip

_MODEL_CHOICE = (
    "weekly_picks.rank_score",
    "weekly_picks.fft_status",
    "weekly_picks.fractal_status",
    "pick_candidates.delta",
    "pick_candidates.strike",
    "pick_candidates.target_delta",
    "pick_candidates.target_strike",
    "pick_candidates.premium_yield",
    "pick_candidates.failed_gate",
)

MODEL_COMPARES = together(
    straight("weekly_picks", "ticker", "rank_score", "fft_status", "fractal_status"),
    computed("decision reason decision_changed", *_GATED, "weekly_picks.rank_score"),
    computed("rank rank_score_adjusted strike_changed", *_MODEL_CHOICE),
    computed("symbol", "weekly_picks.symbol", "pick_candidates.symbol", *_MODEL_CHOICE),
    computed("strike", "weekly_picks.strike", *_MODEL_CHOICE),
    computed("premium_100", "weekly_picks.est_weekly_prem_100", "pick_candidates.mid"),
)

_FILL = ("option_bars_1m.open", "option_bars_1m.start", "bars_1m.open", "bars_1m.start")
_MODEL_PNL = (
    *_FILL,
    "weekly_picks.price",
    "weekly_picks.bid",
    "pick_candidates.bid",
    "stock_day_aggs.close",
    "corporate_actions.cash_amount",
    "corporate_actions.ex_date",
)
MODEL_OUTCOMES = together(
    straight(
        "weekly_picks", "basis", "ticker", "decision_at", "rank_score", "fft_status",
        "fractal_status", decided_on="trade_date", trade_date="expiry", symbol="symbol",
        strike="strike", fees_100="fees_100",
    ),
    straight("pick_candidates", "symbol", "strike", "fees_100"),
    computed("weight rank rank_score_adjusted", *_MODEL_CHOICE),
    computed("filled_at", "option_bars_1m.start", "weekly_picks.decision_at"),
    computed("stock_entry", "bars_1m.open", "weekly_picks.price"),
    computed("option_entry fill_cost", "option_bars_1m.open", "weekly_picks.bid",
             "pick_candidates.bid"),
    computed("dividends", "corporate_actions.cash_amount", "corporate_actions.ex_date"),
    computed("available_at", "stock_day_aggs.available_at"),
    straight("stock_day_aggs", stock_exit="close"),
    computed("is_assigned", "stock_day_aggs.close", "pick_candidates.strike"),
    computed("pnl_100 model_return hold_pnl_100 hold_return reason", *_MODEL_PNL),
)  # fmt: skip

MODEL_SCORES = together(
    straight("model_outcomes", "basis", "model", "trade_date", "available_at",
             first_expiry="trade_date", last_expiry="trade_date"),
    computed("weeks_count block_weeks level replicates", "model_outcomes.trade_date"),
    computed("picks_count untold_count", "model_outcomes.reason"),
    computed("accepted_count", "model_outcomes.weight", "model_outcomes.reason"),
    computed("mean_return difference low high verdict", "model_outcomes.weight",
             "model_outcomes.model_return"),
    computed("mean_hold_return", "model_outcomes.weight", "model_outcomes.hold_return"),
    computed("hold_difference hold_low hold_high hold_verdict", "model_outcomes.weight",
             "model_outcomes.model_return", "model_outcomes.hold_return"),
)  # fmt: skip

POSITIONS = together(
    computed("position_id", "ledger.event_id"),
    computed(
        "account symbol ticker expiry right strike quantity shares open_price stock_basis status "
        "close_price fees option_cash stock_cash realised_cash realised_pnl stock_source "
        "rolled_from rolled_to",
        "ledger.payload",
    ),
    computed("status", "ledger.kind"),
    computed("opened_at closed_at", "ledger.effective_at"),
)

OPENINGS = together(
    straight("promotions", "decision_at", "symbol", "ticker"),
    computed("account position_id effective_at quantity fees", "ledger.payload"),
    computed("position_id", "ledger.event_id"),
    computed("effective_at", "ledger.effective_at"),
    computed("status reason", "promotions.decision", "weekly_picks.bid", "ledger.payload"),
    straight("weekly_picks", price="bid", stock_basis="price"),
    computed("price stock_basis", "ledger.payload"),
)

_HELD = ("strike", "quantity", "shares", "right", "expiry")
_STOCK = "market_last.price"
_CHANGE = (*_CLOSES, _STOCK)
_OPTION_PNL = (
    "option_chain.mid", "positions.open_price", "positions.shares", "positions.quantity",
)  # fmt: skip
_STOCK_PNL = (_STOCK, "positions.stock_basis", "positions.shares", "positions.quantity")
_LEFT = ("option_chain.ask", _STOCK, "positions.expiry", "positions.quantity")
_ANOMALIES = (
    _STOCK, "market_last.price_at", "option_chain.mid", "option_chain.quote_status",
    "option_chain.quote_at", "option_chain.is_standard", "positions.expiry", "positions.strike",
    "positions.opened_at", *_SPLITS,
)  # fmt: skip
_ROLL = (
    *_QUOTE, "option_chain.symbol", "option_chain.strike", "option_chain.expiry",
    "option_chain.right", "positions.strike", "positions.expiry", "positions.right",
)  # fmt: skip
CONTRACT_HEALTH = together(
    straight("positions", "position_id", "account", "symbol", "ticker", *_HELD),
    straight("market_last", stock_price="price"),
    straight("option_chain", "bid", "ask", "mid"),
    computed("spread_pct", *_QUOTE),
    computed("mark mark_source", *_QUOTE, _STOCK, "positions.strike", "positions.right"),
    computed("dte", "positions.expiry"),
    computed("moneyness near_strike deep_itm", _STOCK, "positions.strike"),
    computed("deep_itm", "positions.right"),
    computed("wide_spread", *_QUOTE),
    computed("time_value early_assignment", "option_chain.mid", _STOCK, "positions.strike"),
    computed(
        "early_assignment early_assignment_note ex_date",
        "corporate_actions.ex_date",
        "corporate_actions.cash_amount",
        "positions.expiry",
    ),
    *(
        straight(table, "implied_volatility", "delta", "gamma", "theta", "vega")
        for table in ("option_greeks", "option_chain")
    ),
    computed("greeks_source", "option_greeks.delta", "option_chain.delta"),
    computed("closed_pnl", *_STOCK_PNL, *_QUOTE, "positions.open_price"),
    computed("assigned_pnl", *_STOCK_PNL, "positions.strike", "positions.open_price"),
    computed("delta_gain", _STOCK, "positions.strike", *_QUOTE),
    computed("premium_captured", "option_chain.mid", "positions.open_price"),
    computed("remaining_yield", *_LEFT),
    computed("rapid_up day_change", *_CHANGE),
    computed("anomalies", *_ANOMALIES),
    computed(
        "anomalies reasons",
        "corporate_actions.cash_amount",
        "option_day_aggs.close",
        "treasury_yields.rate",
    ),
    computed("recommendation reasons", *_ANOMALIES, *_QUOTE, *_LEFT, *_ROLL),
    computed("recommendation reasons", "positions.open_price"),
    computed(
        "roll_symbol roll_credit roll_expiry roll_strike roll_bid roll_cap rolls_count", *_ROLL
    ),
    computed("roll_credit", "positions.shares", "positions.quantity"),
    computed("roll_cap", "positions.open_price"),
    straight("structure_features", "fft_status", "fractal_status"),
    computed("option_pnl total_pnl", *_OPTION_PNL),
    computed("stock_pnl total_pnl", *_STOCK_PNL),
)

SUMMARY = together(
    straight("weekly_picks", "basis", "decision_at"),
    computed("picks_count missing_count", "weekly_picks.status"),
    straight("promotions", promoted_count="decision"),
    computed(
        "markdown",
        *("universe.ticker", "universe.enabled"),
        *("market_last.price", "market_last.status", "structure_features.bars_1m_count"),
        *(f"weekly_picks.{name}" for name in (
            "ticker", "category", "price", "pack_100_cost", "cost_bucket", "lane", "expiry",
            "strike", "est_weekly_prem_100", "premium_yield", "bars_1m_count", "fft_status",
            "fractal_status", "rank_score", "stage", "reason", "gates_not_evaluated",
            "earnings_note", "ex_dividend_note",
        )),
        *(f"promotions.{name}" for name in (
            "ticker", "expiry", "strike", "lane", "seed", "decision", "reason", "rank",
        )),
        "positions.status",
        *(f"contract_health.{name}" for name in (
            "ticker", "expiry", "strike", "right", "quantity", "stock_price", "bid", "mid", "ask",
            "premium_captured", "total_pnl", "recommendation", "reasons", "near_strike",
            "deep_itm", "rapid_up", "fft_status", "fractal_status",
        )),
        *(f"model_compares.{name}" for name in (
            "ticker", "model", "decision", "reason", "strike", "decision_changed",
            "strike_changed",
        )),
        *(f"weekly_picks.{name}" for name in (
            "static_return", "if_called_return", "break_even", "assignment_probability",
            "expected_value_100", "strike_quality", "iv_rank",
        )),
        *("model_scores.difference", "model_scores.low", "model_scores.high"),
        *("pick_changes.change", "pick_changes.moved_by", "pick_changes.why"),
        *("portfolio_risk.net_delta_usd", "portfolio_risk.capital", "portfolio_stress.pnl"),
        *("holding_calls.symbol", "holding_calls.premium", "outcomes.position_result"),
    ),
)  # fmt: skip

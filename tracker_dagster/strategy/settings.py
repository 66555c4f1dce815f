"""Every threshold of the weekly decisions, typed, with its default and its unit."""

from __future__ import annotations

from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tracker_dagster.schemas.decisions import LANES


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LaneRule(_Frozen):
    """What a lane asks of its call.

    The floors in dollars-per-dollar hold for five sessions and are scaled by the square root of
    the sessions left, so that a pick made on a Wednesday is not asked for a Monday's premium.
    Each floor is relaxed to a multiple of the ticker's own expected move where that is less:
    taken alone they demand of a calm ticker a premium that no market pays (1 % a week at 4 % out
    of the money needs about 45 % volatility), and the lane would stay empty.

    Attributes:
        target_delta: delta the strike aims at.
        max_delta: most delta, where known; above it the call is not the lane's.
        move_multiple: expected moves between price and strike where no delta is known.
        min_otm: least distance of the strike above the price, as a fraction of the price.
        min_otm_moves: the same in expected moves.
        min_weekly_yield: least premium over price.
        min_yield_moves: the same in expected moves.
    """

    target_delta: float = Field(gt=0, lt=1)
    max_delta: float = Field(gt=0, lt=1)
    move_multiple: float = Field(gt=0)
    min_otm: float = Field(ge=0)
    min_otm_moves: float = Field(ge=0)
    min_weekly_yield: float = Field(ge=0)
    min_yield_moves: float = Field(ge=0)


_LANE_RULES = {
    "SAFE": LaneRule(
        target_delta=0.20, max_delta=0.30, move_multiple=1.0, min_otm=0.02, min_otm_moves=0.50,
        min_weekly_yield=0.004, min_yield_moves=0.06,
    ),
    "SAFE_HIGH": LaneRule(
        target_delta=0.25, max_delta=0.35, move_multiple=0.8, min_otm=0.03, min_otm_moves=0.45,
        min_weekly_yield=0.006, min_yield_moves=0.08,
    ),
    "SAFE_HIGH_PAYOUT": LaneRule(
        target_delta=0.30, max_delta=0.40, move_multiple=0.9, min_otm=0.04, min_otm_moves=0.35,
        min_weekly_yield=0.010, min_yield_moves=0.10,
    ),
    "AGGRESSIVE": LaneRule(
        target_delta=0.35, max_delta=0.45, move_multiple=0.8, min_otm=0.05, min_otm_moves=0.25,
        min_weekly_yield=0.010, min_yield_moves=0.10,
    ),
}  # fmt: skip


class LaneSettings(_Frozen):
    """How a ticker gets its lane; volatility and drawdown as fractions, per year.

    Attributes:
        safe_suitability: least suitability of SAFE on merit.
        safe_volatility: most volatility of SAFE on merit, and the least of SAFE_HIGH_PAYOUT.
        safe_drawdown: most drawdown of SAFE, on merit or by volatility.
        payout_suitability: least suitability of SAFE_HIGH_PAYOUT.
        payout_volatility: most volatility of SAFE_HIGH_PAYOUT.
        calm_volatility: up to here a ticker is SAFE by volatility.
        medium_volatility: up to here SAFE_HIGH, above it AGGRESSIVE.
        safe_categories: categories that are SAFE where the volatility is unknown.
        aggressive_categories: categories that are then AGGRESSIVE; all others SAFE_HIGH.
        rules: what each lane asks of its call.
    """

    safe_suitability: float = 0.59
    safe_volatility: float = 0.20
    safe_drawdown: float = 0.20
    payout_suitability: float = 0.58
    payout_volatility: float = 0.35
    calm_volatility: float = 0.25
    medium_volatility: float = 0.45
    safe_categories: tuple[str, ...] = ("ETF",)
    aggressive_categories: tuple[str, ...] = ("CRYPTO", "SPEC")
    rules: dict[str, LaneRule] = Field(default_factory=lambda: dict(_LANE_RULES))

    @model_validator(mode="after")
    def _every_lane_has_a_rule(self) -> LaneSettings:
        if set(self.rules) != set(LANES):
            raise ValueError(f"rules are needed for exactly {', '.join(LANES)}")
        return self


class StrikeQualityWeights(_Frozen):
    """Weights of the parts of a strike's quality, each of which lies between 0 and 1."""

    presence: float = Field(default=0.3, ge=0)
    volume: float = Field(default=0.3, ge=0)
    trades: float = Field(default=0.2, ge=0)
    stability: float = Field(default=0.2, ge=0)


class RankWeights(_Frozen):
    """Weights of the rank score's components, each of which lies between 0 and 1."""

    score_yield: float = Field(default=0.30, ge=0)
    score_suitability: float = Field(default=0.25, ge=0)
    score_calm: float = Field(default=0.25, ge=0)
    score_trend: float = Field(default=0.10, ge=0)
    score_liquidity: float = Field(default=0.10, ge=0)

    def normalised(self) -> MappingProxyType[str, float]:
        """The weights with a sum of one."""
        weights = self.model_dump()
        total = sum(weights.values())
        return MappingProxyType({name: value / total for name, value in weights.items()})


class PickSettings(_Frozen):
    """Limits on a pick's data and contract.

    Attributes:
        min_sessions: fewest sessions from the decision to the expiry; 1 takes the next weekly
            expiry, whatever day it is, more skips one that is too near to be worth a week's work.
        max_price_age_minutes: older prices of the underlying are stale.
        max_quote_age_minutes: older option quotes are stale.
        max_lead_seconds: prices and quotes of later after the decision are not the decision's. The
            ten minutes to the close: whoever runs the day by hand then decides on what is seen.
        max_price_gap: most that the price may differ from the one that came with the chain, as a
            fraction of that.
        max_spread: most (ask - bid) / mid.
        min_delta: least delta, where known.
        min_open_interest: least open interest, where known.
        min_day_volume: least volume of the session, where known.
        max_period_yield: above this a premium is taken for an error in the data.
        yield_cap: yield over five sessions at which its score is full.
        risk_cap: volatility plus drawdown at which the score for calm is zero.
        reference_max_age_days: older calendars of earnings and dividends say nothing.
        rate: cash rate where none of ours is known for the contract, per year.
        fee_per_contract: commission and exchange fees of selling one contract, dollars.
        minimum_closes: fewest closes for statistics.
        lookback_closes: most closes for statistics.
        lanes: how tickers get lanes, and what lanes ask.
        weights: of the rank score.
        strike_quality: weights of a strike's quality.
    """

    min_sessions: int = Field(default=3, ge=1)
    max_price_age_minutes: float = 30.0
    max_quote_age_minutes: float = 60.0
    max_lead_seconds: float = Field(default=600.0, ge=0)
    max_price_gap: float = Field(default=0.02, ge=0)
    max_spread: float = 0.20
    min_delta: float = 0.05
    min_open_interest: int = 10
    min_day_volume: float = 1.0
    max_period_yield: float = 0.50
    yield_cap: float = 0.02
    risk_cap: float = 1.0
    reference_max_age_days: int = 7
    rate: float = 0.04
    fee_per_contract: float = Field(default=0.65, ge=0)
    minimum_closes: int = Field(default=20, ge=8)
    lookback_closes: int = 252
    lanes: LaneSettings = LaneSettings()
    weights: RankWeights = RankWeights()
    strike_quality: StrikeQualityWeights = StrikeQualityWeights()


class PromotionSettings(_Frozen):
    """Gates of a promotion.

    Attributes:
        intraday_bars: fewer one-minute bars leave the structure gate not evaluated.
        require_history: whether too few bars also turn a pick down; off, because a missing
            history is no evidence of instability.
        structure_gate: whether an unstable structure turns a pick down.
        min_yield: least premium over the cost of 100 shares for five sessions, scaled by the
            square root of the sessions left.
        max_spread: most (ask - bid) / mid.
        max_per_category: most promotions of one category, open positions included.
        block_on_earnings: whether earnings before the expiry turn a pick down.
        block_on_ex_dividend: whether an ex-date before the expiry turns a pick down.
    """

    intraday_bars: int = 120
    require_history: bool = False
    structure_gate: bool = True
    min_yield: float = 0.002
    max_spread: float = 0.20
    max_per_category: int = 2
    block_on_earnings: bool = False
    block_on_ex_dividend: bool = False


class CompareSettings(_Frozen):
    """What the weighted model does with an unstable structure.

    Attributes:
        penalty: taken off the rank score for each unstable gate.
        delta_shift: taken off the target delta for each unstable gate, which moves the strike
            further out over the same candidates.
        move_shift: where no delta is known, added to the distance of the target strike for each
            unstable gate, as a part of that distance.
        promotion: gates that all models share; its structure gate is set per model.
    """

    penalty: float = 0.2
    delta_shift: float = 0.05
    move_shift: float = 0.25
    promotion: PromotionSettings = PromotionSettings()


class WalkForwardSettings(_Frozen):
    """How the models are measured.

    Attributes:
        fill_cost: what a sale gives up against the price that the contract traded at, dollars a
            share. A sale at a captured bid pays the spread already and gives up nothing more.
        level: of the intervals.
        least_weeks: fewer weeks have no interval.
        replicates: of the bootstrap.
    """

    fill_cost: float = Field(default=0.02, ge=0)
    level: float = Field(default=0.95, gt=0, lt=1)
    least_weeks: int = Field(default=12, ge=4)
    replicates: int = Field(default=9999, ge=99)


class HealthSettings(_Frozen):
    """Triggers and rules of the position monitor.

    Attributes:
        near_strike: distance from the strike, as a fraction of it.
        deep_itm: depth in the money, as a fraction of the strike.
        rapid_up: rise since the close before.
        wide_spread: above this the spread of the option is too wide to trade on.
        max_spread: most (ask - bid) / mid of a contract to roll to.
        close_captured: share of the premium captured, at the ask, from which closing pays.
        close_yield: annual yield of what remains below which waiting does not pay.
        roll_dte: calendar days to the expiry from which a threatened call is rolled.
        roll_expiries: weekly expiries that a roll is looked for in, after the position's.
        fee_per_contract: commission and exchange fees of one contract, bought or sold, dollars.
        max_quote_age_minutes: older quotes are an anomaly.
        max_price_age_minutes: older prices of the underlying are an anomaly.
        time_value_slack: dollars that a mid may lie under its intrinsic value.
    """

    near_strike: float = 0.03
    deep_itm: float = 0.05
    rapid_up: float = 0.05
    wide_spread: float = 0.08
    max_spread: float = 0.20
    close_captured: float = 0.80
    close_yield: float = 0.05
    roll_dte: int = 2
    roll_expiries: int = Field(default=2, ge=1)
    fee_per_contract: float = Field(default=0.65, ge=0)
    max_quote_age_minutes: float = 60.0
    max_price_age_minutes: float = 30.0
    time_value_slack: float = 0.05

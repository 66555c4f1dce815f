"""The pictures of the summary: picks, books and models. A picture with nothing to show is None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tracker_dagster.reports.charts import INK, canvas
from tracker_dagster.reports.svg import Chart, drawn
from tracker_dagster.schemas.decisions import LANES
from tracker_dagster.schemas.portfolio_risk import ALL_TICKERS, MOVES, SCENARIOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that stay apart for people who see fewer of them (Okabe and Ito).
_LANE_COLOURS = dict(zip(LANES, ("#0072b2", "#009e73", "#e69f00", "#d55e00"), strict=True))
_COMPONENT_COLOURS = ("#0072b2", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#999999")
_FAINT = "#777777"
_LOSS = "#b5483a"
#: Most picks in a picture; more could not be told apart.
_MOST = 25


def _picked(picks: pl.DataFrame) -> pl.DataFrame:
    return picks.filter(pl.col("status") == "picked").sort("rank").head(_MOST)


def _lane_legend(axes: Axes, lanes: set[str | None]) -> None:
    from matplotlib.patches import Patch

    shown = [Patch(color=colour, label=lane) for lane, colour in _LANE_COLOURS.items()
             if lane in lanes]  # fmt: skip
    axes.legend(handles=shown, fontsize=7, frameon=False)


def yield_chart(picks: pl.DataFrame) -> Chart | None:
    """Annualised yield of the best picks in order of rank, coloured by lane."""
    rows = _picked(picks).drop_nulls("annualised_yield")
    if rows.is_empty():
        return None
    title = f"Annualised yield of the {len(rows)} best picks, in order of rank"
    figure, axes = canvas(title)
    colours = [_LANE_COLOURS.get(lane, _FAINT) for lane in rows["lane"]]
    axes.bar(rows["ticker"].to_list(), 100 * rows["annualised_yield"].to_numpy(), color=colours)
    axes.tick_params(axis="x", rotation=60)
    axes.set_ylabel("% a year", fontsize=8)
    _lane_legend(axes, set(rows["lane"]))
    return drawn(figure, "yields", title)


def payoff_risk_chart(picks: pl.DataFrame) -> Chart | None:
    """What each pick pays against how likely its shares are called away, coloured by lane."""
    rows = _picked(picks).drop_nulls(["premium_yield", "assignment_probability"])
    if rows.is_empty():
        return None
    title = "Premium against the probability of assignment"
    figure, axes = canvas(title)
    across = 100 * rows["assignment_probability"].to_numpy()
    up = 100 * rows["premium_yield"].to_numpy()
    colours = [_LANE_COLOURS.get(lane, _FAINT) for lane in rows["lane"]]
    axes.scatter(across, up, c=colours, s=22)
    for ticker, x, y in zip(rows["ticker"], across, up, strict=True):
        axes.annotate(ticker, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6.5)
    axes.set_xlabel("probability of assignment, %", fontsize=8)
    axes.set_ylabel("premium, % of the price", fontsize=8)
    axes.margins(0.08)
    _lane_legend(axes, set(rows["lane"]))
    return drawn(figure, "payoff-risk", title)


def score_chart(picks: pl.DataFrame, weights: Mapping[str, float]) -> Chart | None:
    """What the rank score of the best picks is made of.

    Args:
        picks: rows of weekly_picks of one decision.
        weights: component to its weight in the score.
    """
    rows = _picked(picks)
    names = [name for name in weights if name in rows.columns]
    if rows.is_empty() or not names:
        return None
    title = f"Rank score of the {len(rows)} best picks, by component"
    figure, axes = canvas(title)
    at = np.zeros(len(rows))
    for name, colour in zip(names, _COMPONENT_COLOURS, strict=False):
        part = weights[name] * rows[name].fill_null(0.0).to_numpy()
        label = name.removeprefix("score_")
        axes.bar(rows["ticker"].to_list(), part, bottom=at, color=colour, label=label)
        at = at + part
    axes.tick_params(axis="x", rotation=60)
    axes.legend(fontsize=7, frameon=False, ncols=len(names), loc="upper right")
    axes.set_ylim(0, 1.25 * max(float(at.max()), 1e-9))
    axes.set_ylabel("score", fontsize=8)
    return drawn(figure, "scores", title)


def equity_chart(outcomes: pl.DataFrame, account: str = "paper") -> Chart | None:
    """What a book's ended positions have made so far, and what their shares alone would have.

    Args:
        outcomes: rows of outcomes of all sessions so far.
        account: the book.
    """
    rows = outcomes.filter(pl.col("account") == account).drop_nulls(
        ["position_result", "buy_hold_pnl"]
    )
    if rows.is_empty():
        return None
    title = f"Book {account}: ended positions, added up"
    by_day = (
        rows.group_by("ended_on")
        .agg(pl.col("position_result", "buy_hold_pnl", "option_result").sum())
        .sort("ended_on")
    )
    figure, axes = canvas(title)
    days = by_day["ended_on"].to_numpy()
    for name, label, colour, style in (
        ("position_result", "calls and shares", INK, "-"),
        ("buy_hold_pnl", "the same shares alone", _LOSS, "--"),
        ("option_result", "calls alone", _FAINT, ":"),
    ):
        total = by_day[name].cum_sum().to_numpy()
        axes.step(days, total, where="post", color=colour, linestyle=style, label=label, marker=".",
                  markersize=3)  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("USD", fontsize=8)
    axes.tick_params(axis="x", rotation=30)
    axes.legend(fontsize=7, frameon=False)
    return drawn(figure, f"equity-{_slug(account)}", title)


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())


def stress_chart(stress: pl.DataFrame) -> Chart | None:
    """What each shock would bring each account, with stocks moving plainly and by their betas."""
    rows = stress.filter(pl.col("ticker") == ALL_TICKERS).drop_nulls("pnl")
    if rows.is_empty():
        return None
    title = "What shocks would bring"
    figure, axes = canvas(title)
    accounts = sorted(set(rows["account"]))
    told = set(rows.select("account", "move").iter_rows())
    series = [(account, move) for account in accounts for move in MOVES if (account, move) in told]
    width = 0.8 / len(series)
    places = np.arange(len(SCENARIOS))
    for number, (account, move) in enumerate(series):
        pnl = dict(
            rows.filter(pl.col("account") == account, pl.col("move") == move)
            .select("scenario", "pnl")
            .iter_rows()
        )
        heights = [pnl.get(scenario, np.nan) for scenario in SCENARIOS]
        shade = 1.0 if move == MOVES[0] else 0.5
        colour = _COMPONENT_COLOURS[accounts.index(account) % len(_COMPONENT_COLOURS)]
        axes.bar(places + (number + 0.5) * width - 0.4, heights, width, color=colour, alpha=shade,
                 label=f"{account}, {move}")  # fmt: skip
    axes.set_xticks(places, [_two_lines(name) for name in SCENARIOS.values()])
    axes.tick_params(axis="x", labelsize=7)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("USD", fontsize=8)
    axes.legend(fontsize=7, frameon=False, ncols=2)
    return drawn(figure, "stress", title)


def _two_lines(text: str) -> str:
    first, blank, rest = text.partition(" and " if " and " in text else "volatility ")
    return f"{first}{blank.rstrip()}\n{rest}" if blank else text


def models_chart(scores: pl.DataFrame) -> Chart | None:
    """Each model's weekly return less baseline's, with the interval in which it may lie.

    Args:
        scores: rows of model_scores, one a basis and model.
    """
    rows = scores.drop_nulls(["difference", "low", "high"])
    if rows.is_empty():
        return None
    title = "Weekly return less baseline's, with its interval"
    figure, axes = canvas(title)
    labels = []
    for place, row in enumerate(rows.sort("basis", "model").iter_rows(named=True)):
        low, mid, high = (1e4 * row[name] for name in ("low", "difference", "high"))
        clear = low > 0 or high < 0
        colour = (INK if mid > 0 else _LOSS) if clear else _FAINT
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([mid], [place], "o", color=colour)
        labels.append(f"{row['model']}, {row['basis']}")
    axes.axvline(0, color="black", linewidth=0.6, linestyle="--")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel("basis points a week; grey: no difference can be told", fontsize=8)
    return drawn(figure, "models", title)


def section_charts(
    *,
    picks: pl.DataFrame,
    weights: Mapping[str, float],
    outcomes: pl.DataFrame,
    stress: pl.DataFrame,
    scores: pl.DataFrame,
) -> dict[str, list[Chart]]:
    """The pictures of the summary, by the title of the section that each belongs to."""
    return _there(
        {
            "Weekly Picks (Grouped by Pack Cost Buckets)": [
                yield_chart(picks),
                payoff_risk_chart(picks),
                score_chart(picks, weights),
            ],
            "Active Contract Health": _equities(outcomes),
            "Side-by-Side Decision Changes": [models_chart(scores)],
            "Portfolio Risk": [stress_chart(stress)],
        }
    )


def scorecard_charts(outcomes: pl.DataFrame, scores: pl.DataFrame) -> dict[str, list[Chart]]:
    """The pictures of the scorecard, by the title of the section that each belongs to."""
    return _there(
        {
            "Positions that ended": _equities(outcomes),
            "What the gate was worth so far": [models_chart(scores)],
        }
    )


def _equities(outcomes: pl.DataFrame) -> list[Chart | None]:
    return [equity_chart(outcomes, account) for account in sorted(set(outcomes["account"]))]


def _there(found: Mapping[str, list[Chart | None]]) -> dict[str, list[Chart]]:
    kept = {title: [chart for chart in charts if chart is not None]
            for title, charts in found.items()}  # fmt: skip
    return {title: charts for title, charts in kept.items() if charts}

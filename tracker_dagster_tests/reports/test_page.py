"""Pages and their pictures: whole in themselves, safe with any text, the same each time."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

from tools.examples import charts_of
from tracker_dagster.reports.page import html_page, with_pictures
from tracker_dagster.reports.report_charts import (
    equity_chart,
    models_chart,
    payoff_risk_chart,
    score_chart,
    section_charts,
    stress_chart,
    yield_chart,
)
from tracker_dagster.reports.svg import Chart
from tracker_dagster.schemas.models import MODEL_SCORES
from tracker_dagster.schemas.outcomes import OUTCOMES
from tracker_dagster.schemas.portfolio_risk import PORTFOLIO_STRESS, SCENARIOS
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster_tests.strategy.test_promotions import picks

SVG = "{http://www.w3.org/2000/svg}"
WEIGHTS = PickSettings().weights.normalised()
MARKDOWN = """# Weekly summary

## 1. Header

- Database: `data/x.duckdb`

## 2. Picks

### <= 5k (1 pick)

| ticker | price | reason |
| --- | ---: | --- |
| A | 1.50 | <script>alert("x")</script> and a sentence that is long enough to break |
"""


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name))]


def some_picks() -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {"ticker": "A", "lane": "SAFE", "annualised_yield": 0.30, "assignment_probability": 0.2},
        {"ticker": "B", "lane": "AGGRESSIVE", "annualised_yield": 0.60,
         "assignment_probability": 0.4},
        {"ticker": "C", "annualised_yield": None, "assignment_probability": None},
    ]  # fmt: skip
    return picks([{**row, **dict.fromkeys(WEIGHTS, 0.5)} for row in rows])


def some_outcomes() -> pl.DataFrame:
    rows = [
        {"position_id": f"p{n}", "account": account, "ended_on": date(2025, 6, day),
         "position_result": result, "buy_hold_pnl": 50.0, "option_result": 10.0}
        for n, (account, day, result) in enumerate(
            [("paper", 13, 100.0), ("paper", 20, -50.0), ("my IRA", 20, 30.0)]
        )
    ]  # fmt: skip
    return OUTCOMES.conform(pl.DataFrame(rows))


def some_stress() -> pl.DataFrame:
    rows = [
        {"account": "paper", "scenario": scenario, "move": move, "ticker": "*", "pnl": -100.0 * n}
        for n, scenario in enumerate(SCENARIOS)
        for move in ("plain", "beta")
    ]
    return PORTFOLIO_STRESS.conform(pl.DataFrame(rows))


def some_scores() -> pl.DataFrame:
    rows = [
        {"basis": "day_file", "model": "baseline", "difference": None, "low": None, "high": None},
        {"basis": "day_file", "model": "gated", "difference": 8e-4, "low": 2e-4, "high": 15e-4},
        {"basis": "day_file", "model": "weighted", "difference": 1e-4, "low": -2e-4, "high": 4e-4},
    ]
    return MODEL_SCORES.conform(pl.DataFrame(rows))


def every_chart() -> dict[str, list[Chart]]:
    return section_charts(
        picks=some_picks(), weights=WEIGHTS, outcomes=some_outcomes(), stress=some_stress(),
        scores=some_scores(),
    )  # fmt: skip


def one_list(charts: dict[str, list[Chart]]) -> list[Chart]:
    return [chart for mine in charts.values() for chart in mine]


def words(chart: Chart | None) -> list[str]:
    assert chart is not None
    root = ElementTree.fromstring(chart.svg)
    return [node.text or "" for node in root.iter(f"{SVG}text")]


def test_charts_show_what_they_say() -> None:
    shown = words(yield_chart(some_picks()))
    assert {"A", "B", "SAFE", "AGGRESSIVE"} <= set(shown)
    assert "C" not in shown
    assert "SAFE_HIGH" not in words(payoff_risk_chart(some_picks()))
    assert {"yield", "calm"} <= set(words(score_chart(some_picks(), WEIGHTS)))
    assert "Book my IRA: ended positions, added up" in words(
        equity_chart(some_outcomes(), "my IRA")
    )
    shocks = " ".join(words(stress_chart(some_stress())))
    assert all(word in shocks for name in SCENARIOS.values() for word in name.split())
    assert {"gated, day_file", "weighted, day_file"} <= set(words(models_chart(some_scores())))


def test_nothing_to_show_gives_no_chart() -> None:
    empty = section_charts(
        picks=some_picks().clear(), weights=WEIGHTS, outcomes=OUTCOMES.empty(),
        stress=PORTFOLIO_STRESS.empty(), scores=MODEL_SCORES.empty(),
    )  # fmt: skip
    assert empty == {}


@pytest.mark.feature(28)
def test_the_page_is_whole_in_itself() -> None:
    text = html_page(MARKDOWN, {"Picks": one_list(every_chart())})
    page = Page(text)
    for name in ("src", "href", "xlink:href", "data", "action"):
        assert all(value.startswith("#") for value in page.attributes(name)), name
    assert not re.findall(r"url\((?!#)|@import", text)
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in page.tags}
    policy = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    names = page.attributes("id")
    assert len(names) == len(set(names))
    asked = [value[1:] for name in ("href", "xlink:href") for value in page.attributes(name)]
    asked += re.findall(r"url\(#([^)]+)\)", text)
    assert asked
    assert set(asked) <= set(names)
    assert sum(tag == "svg" for tag, _ in page.tags) == 7


def test_text_stays_text_and_sections_are_linked() -> None:
    text = html_page(MARKDOWN)
    page = Page(text)
    assert "&lt;script&gt;" in text
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"] == ["#section-1", "#section-2"]
    assert "<title>Weekly summary</title>" in text
    assert any(attrs.get("class") == "words" for tag, attrs in page.tags if tag == "td")
    assert any("right" in (attrs.get("style") or "") for tag, attrs in page.tags if tag == "td")


def test_the_same_report_gives_the_same_page() -> None:
    one, two = (html_page(MARKDOWN, {"Picks": one_list(every_chart())}) for _ in range(2))
    assert one == two


def test_pictures_can_be_taken_out_of_a_page_again() -> None:
    charts = {"Picks": one_list(every_chart())}
    assert charts_of(html_page(MARKDOWN, charts)) == charts


def test_markdown_with_pictures_beside_it() -> None:
    charts = {"Picks": [Chart("yields", "Yields", "<svg/>")]}
    text = with_pictures(MARKDOWN, charts)
    assert "## 2. Picks\n\n![Yields](charts/yields.svg)\n\n### <= 5k" in text
    assert text.count("![") == 1

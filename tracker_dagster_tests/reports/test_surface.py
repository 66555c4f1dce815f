"""Pictures of smiles and term structures: drawn from known rows, and from next to nothing."""

from __future__ import annotations

import polars as pl
import pytest

from tracker_dagster.analytics.volatility.smile_points import smile_points
from tracker_dagster.analytics.volatility.surface import surface_rows
from tracker_dagster.analytics.volatility.term_structure import term_structure_rows
from tracker_dagster.reports.surface import smile_chart, term_structure_chart
from tracker_dagster_tests.analytics.volatility.smiles import contracts, equity
from tracker_dagster_tests.reports.test_charts import pixels

CHAIN = pl.concat([contracts(equity(0.25, days / 365), days) for days in (9, 30, 93)])
SURFACE = surface_rows(CHAIN)
TERMS = term_structure_rows(SURFACE, CHAIN, is_quoted=True).row(0, named=True)
EXPIRY = SURFACE.row(1, named=True)
POINTS = smile_points(CHAIN).filter(pl.col("expiry") == EXPIRY["expiry"])


def ink(markdown):
    """Share of the picture that is not white."""
    return (pixels(markdown)[..., :3].min(axis=-1) < 0.98).mean()


def test_a_smile_is_drawn_with_its_quotes_and_says_whose_it_is() -> None:
    shown = smile_chart(EXPIRY, POINTS, "today")
    assert shown.startswith(f"![AAA, expiry {EXPIRY['expiry']}: smile of today](data:image/png")
    assert ink(shown) > ink(smile_chart(EXPIRY, POINTS.head(1), "today"))
    assert shown == smile_chart(EXPIRY, POINTS, "today")


@pytest.mark.parametrize("basis", ["snapshot", "day_file"])
def test_last_trades_have_no_bars_and_are_drawn_all_the_same(basis) -> None:
    chain = contracts(equity(), basis=basis)
    row = surface_rows(chain).row(0, named=True)
    assert ink(smile_chart(row, smile_points(chain), basis)) > 0.01


def test_a_term_structure_says_its_label() -> None:
    shown = term_structure_chart(TERMS, SURFACE, "today")
    assert shown.startswith("![AAA: term structure of today, flat](data:image/png")
    assert ink(shown) > 0.01


def test_an_underlying_without_any_volatility_says_so() -> None:
    row = dict.fromkeys(TERMS) | {"underlying": "AAA"}
    shown = term_structure_chart(row, SURFACE.clear(), "today")
    assert shown.startswith("![AAA: term structure of today](data:image/png")
    assert 0 < ink(shown) < ink(term_structure_chart(TERMS, SURFACE, "today"))

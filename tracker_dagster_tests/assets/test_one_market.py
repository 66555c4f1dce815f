"""A database holds one market: generated prices never come to lie beside real ones."""

import shutil

import pytest

from tracker_dagster.operations.choice import Choice, UsageError
from tracker_dagster_tests.assets.place import DAY, TODAY, Place, failure


def test_a_run_against_another_market_is_refused_before_it_asks_for_anything(settled, tmp_path):
    before = settled.content()
    shutil.copytree(settled.home, tmp_path / "real")
    real = Place(
        tmp_path / "real",
        settled.url,
        more_settings={
            "massive_api_key": "key",
            "massive_key_id": "id",
            "massive_secret_key": "secret",
            "massive_rest_url": "https://vendor.invalid",
            "massive_s3_url": "https://vendor.invalid",
        },
    )
    text = failure(real.run(["stock_day_aggs"], DAY))
    assert "holds the simulated market" in text
    assert "vendor.invalid" in text
    assert "TRACKER_DATA_DIR" in text
    assert real.content() == before


def test_the_report_says_whose_prices_it_shows(settled):
    report = (settled.home / f"data/reports/{TODAY}/summary.md").read_text()
    assert "- Market: SIMULATED MARKET: every price is generated" in report


@pytest.mark.parametrize("seed", [0.0, -5.0, float("inf"), float("nan")])
def test_a_seed_that_is_no_sum_of_money_is_refused(seed):
    with pytest.raises(UsageError, match="above zero"):
        Choice(seed=seed)

"""The model comparison as JSON: who decides what, and who differs from baseline."""

from __future__ import annotations

import json

from tracker_dagster.reports.model_compare import model_compare_report
from tracker_dagster.strategy.comparison import compare_models
from tracker_dagster_tests.strategy.test_comparison import CANDIDATES, ROWS
from tracker_dagster_tests.strategy.test_promotions import NO_POSITIONS, picks


def test_the_report_lists_what_changed_and_is_json() -> None:
    chosen = picks([{**ROWS[0], "fft_status": "unstable"}, *ROWS[1:]])
    compares = compare_models(chosen, CANDIDATES, NO_POSITIONS, 9300.0)
    report = json.loads(json.dumps(model_compare_report(compares)))
    assert report["decision_changes"] == {"baseline": [], "gated": ["A", "C"], "weighted": []}
    strikes = {
        model: compares.filter(model=model, ticker="A")["strike"].item()
        for model in ("baseline", "weighted")
    }
    assert strikes["weighted"] > strikes["baseline"]
    assert report["strike_changes"] == {"A": strikes}
    assert report["decisions"]["gated"] == {"A": "skip", "B": "promote", "C": "promote"}
    assert (report["seed"], report["top_n"]) == (9300.0, 10)

"""Documents on disk: whole or not at all, and the undated one is the latest session's."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from tracker_dagster.reports.documents import reported_days, write_dated, write_document


def test_the_latest_session_owns_the_undated_summary(tmp_path: Path) -> None:
    assert write_dated(tmp_path, date(2025, 6, 9), "monday\n") == [
        tmp_path / "summary.md",
        tmp_path / "2025-06-09" / "summary.md",
    ]
    write_dated(tmp_path, date(2025, 6, 10), "tuesday\n")
    assert write_dated(tmp_path, date(2025, 6, 9), "monday again\n") == [
        tmp_path / "2025-06-09" / "summary.md"
    ]
    assert (tmp_path / "summary.md").read_text() == "tuesday\n"
    assert (tmp_path / "2025-06-09" / "summary.md").read_text() == "monday again\n"
    assert reported_days(tmp_path) == [date(2025, 6, 9), date(2025, 6, 10)]


def test_other_folders_are_no_days(tmp_path: Path) -> None:
    (tmp_path / "drafts").mkdir()
    (tmp_path / "2025-06-11").mkdir()
    assert reported_days(tmp_path) == []
    assert reported_days(tmp_path / "absent") == []


def test_a_write_that_fails_leaves_the_old_document_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_document(tmp_path / "summary.md", "old\n")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_document(path, "new\n")
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]

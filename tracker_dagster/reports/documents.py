"""Where reports lie on disk, and how they get there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from datetime import date
from pathlib import Path


def write_document(path: Path, text: str) -> Path:
    """Write ``text`` so that a reader sees the old document or the new one, never a part.

    Raises:
        OSError: the disk is full or not writable; the old document stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as document:
            document.write(text)
            document.flush()
            os.fsync(document.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def reported_days(reports: Path, name: str = "summary.md") -> list[date]:
    """The sessions that have a dated copy of a report, ascending."""
    days = []
    for folder in reports.iterdir() if reports.is_dir() else ():
        try:
            day = date.fromisoformat(folder.name)
        except ValueError:
            continue
        if (folder / name).is_file():
            days.append(day)
    return sorted(days)


def write_dated(reports: Path, day: date, text: str, name: str = "summary.md") -> list[Path]:
    """Write ``reports/DAY/name``, and ``reports/name`` too unless a later day has one.

    Returns:
        The paths written; the undated one first where it was.
    """
    written = [write_document(reports / day.isoformat() / name, text)]
    if reported_days(reports, name)[-1] <= day:
        written.insert(0, write_document(reports / name, text))
    return written

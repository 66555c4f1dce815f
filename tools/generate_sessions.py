"""Regenerate ``data/seed/sessions.csv`` from exchange_calendars (development dependency).

Run with ``make sessions`` after a new release of exchange_calendars. The file is shipped because
importing the library costs every process more than a second.
"""

from __future__ import annotations

from pathlib import Path

import exchange_calendars

FIRST, LAST = "2003-09-10", "2035-12-31"
TARGET = Path(__file__).parent.parent / "data" / "seed" / "sessions.csv"


def rows() -> list[str]:
    """CSV lines ``session,open_et,close_et`` of every XNYS session between FIRST and LAST."""
    schedule = exchange_calendars.get_calendar("XNYS", start=FIRST, end=LAST).schedule
    opens = schedule.open.dt.tz_convert("America/New_York").dt.strftime("%H:%M")
    closes = schedule.close.dt.tz_convert("America/New_York").dt.strftime("%H:%M")
    return [
        f"{day.date()},{opening},{closing}"
        for day, opening, closing in zip(schedule.index, opens, closes, strict=True)
    ]


if __name__ == "__main__":
    TARGET.write_text("\n".join(["session,open_et,close_et", *rows()]) + "\n")

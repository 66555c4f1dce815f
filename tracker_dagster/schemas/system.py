"""Bookkeeping tables of the warehouse: quarantine, ingested files, alerts, ledger."""

from __future__ import annotations

from datetime import datetime

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import Kind, Table, count, instant, text, trade_date


class Quarantine(dy.Schema):
    """A row that broke a rule, kept with the rule that it broke. Not keyed: duplicates are news."""

    table_name = text("table the row was meant for")
    unit = text("unit of replacement it came with, as JSON")
    rule = text("rule it broke")
    row_key = text("key of the row as JSON; null when it has none", nullable=True)
    raw = text("the row as it came")


class IngestedFiles(dy.Schema):
    """The vendor file that a partition was made from."""

    trade_date = trade_date()
    table_name = text("table filled from the file", key=True)
    source = text("feed", key=True)
    object_key = text("key of the object in the vendor's bucket")
    etag = text("ETag of the object when it was read")
    size_bytes = count("size of the object", "bytes", nullable=False)
    rows_read = count("rows in the file", nullable=False)
    rows_kept = count("rows written", nullable=False)
    rows_quarantined = count("rows set aside", nullable=False)
    rows_collapsed = count("exact duplicates collapsed into one", nullable=False)


class Alerts(dy.Schema):
    """Something a person should know."""

    alert_id = text("identity of what is wrong, so that it is told once", key=True)
    raised_at = instant("when it was raised", key=True)
    severity = dy.String(nullable=False, regex=r"^(info|warning|error)$", description="how bad")
    kind = text("run_failure, calendar, stale_decision, …")
    subject = text("what it is about")
    message = text("what happened, and what to do")


class Ledger(dy.Schema):
    """What people changed, in the order it was recorded."""

    event_id = text("identity of the event; the same event recorded twice is one", key=True)
    effective_at = instant("when it takes effect", nullable=False)
    recorded_at = instant("when it was recorded", nullable=False)
    actor = text("who recorded it")
    kind = text("kind of event")
    payload = text("the event's facts, as JSON")


class MarketIdentity(dy.Schema):
    """Whose numbers the database holds."""

    scope = text("always market", key=True)
    market = text("host of the vendor, or the simulated market")


QUARANTINE = Table(
    "quarantine",
    Quarantine,
    ("table_name", "unit"),
    Kind.SYSTEM,
    "Rows that broke a rule, with the rule; replaced together with the unit they came with.",
)
INGESTED_FILES = Table(
    "ingested_files",
    IngestedFiles,
    ("trade_date", "table_name", "source"),
    Kind.SYSTEM,
    "Which vendor file (ETag, size) each partition was made from, and how many rows it gave.",
)
ALERTS = Table(
    "alerts", Alerts, ("alert_id", "raised_at"), Kind.SYSTEM, "Failures and warnings for people."
)
LEDGER = Table(
    "ledger",
    Ledger,
    ("event_id",),
    Kind.LEDGER,
    "Append-only record of what people changed: universe, positions, approvals.",
)

MARKET_IDENTITY = Table(
    "market_identity",
    MarketIdentity,
    ("scope",),
    Kind.SYSTEM,
    "The market whose numbers the database holds; runs against another one are refused.",
)

TABLES = (QUARANTINE, INGESTED_FILES, ALERTS, MARKET_IDENTITY, LEDGER)


def alert_row(
    alert_id: str, raised_at: datetime, severity: str, kind: str, subject: str, message: str
) -> pl.DataFrame:
    """One row of the alerts table."""
    return ALERTS.conform(
        pl.DataFrame(
            {
                "alert_id": [alert_id],
                "raised_at": [raised_at],
                "severity": [severity],
                "kind": [kind],
                "subject": [subject],
                "message": [message],
            }
        )
    )

"""Positions that ended, each on the one session that counts with its end."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.ledger.folds import SETTLEMENT, positions_as_of

_ENDS = ("position_closed", "position_expired", "position_assigned")


def ended_positions(ledger: pl.DataFrame, day: date) -> pl.DataFrame:
    """Positions whose end the session ``day`` is the first to count with, in its final state.

    A session counts with what is in effect and recorded by its decision time. What the run of a
    session settles belongs to that session, though it is recorded minutes after: it settles before
    it decides. So each position that ends appears on one session and on no other, whether its end
    was recorded in time, later, or with an earlier effect, and a past day asked again says the
    same.

    Args:
        ledger: rows of the ledger, in any order.
        day: session.

    Returns:
        Rows of `positions_as_of`, those that ended alone.
    """
    before = _ended_by(ledger, trading_calendar.previous_session(day))
    now = _ended_by(ledger, day)
    return now.join(before, on="position_id", how="anti").sort("position_id")


def sessions_of_ends(ledger: pl.DataFrame, day: date) -> dict[str, date]:
    """The session on which `ended_positions` gives each position whose end counts by ``day``.

    Whoever makes a session can so see which ends belong to sessions that were made before they
    were recorded, or never.

    Args:
        ledger: rows of the ledger, in any order.
        day: session; ends that count later are left out.

    Returns:
        Session by ``position_id``.
    """
    ended = set(_ended_by(ledger, day)["position_id"])
    found: dict[str, date] = {}
    ends = ledger.filter(pl.col("kind").is_in(_ENDS)).with_columns(
        position_id=pl.col("payload").str.json_path_match("$.position_id")
    )
    for row in ends.filter(pl.col("position_id").is_in(sorted(ended))).iter_rows(named=True):
        since = max(row["effective_at"], _counts_from(row["recorded_at"], row["actor"]))
        session = _first_deciding_from(since)
        found[row["position_id"]] = min(session, found.get(row["position_id"], session))
    return found


def _first_deciding_from(moment: datetime) -> date:
    session = trading_calendar.session_or_previous(trading_calendar.trading_date(moment))
    if trading_calendar.decision_time(session) < moment:
        return trading_calendar.next_session(session)
    return session


def _ended_by(ledger: pl.DataFrame, day: date) -> pl.DataFrame:
    moment = trading_calendar.decision_time(day)
    rows = ledger.filter(pl.col("effective_at") <= moment)
    late = [
        row["event_id"]
        for row in rows.filter(pl.col("kind").is_in(_ENDS)).iter_rows(named=True)
        if _counts_from(row["recorded_at"], row["actor"]) > moment
    ]
    positions = positions_as_of(rows.filter(~pl.col("event_id").is_in(late)), moment)
    return positions.filter(pl.col("status") != "OPEN")


def _counts_from(recorded_at: datetime, actor: str) -> datetime:
    if actor != SETTLEMENT:
        return recorded_at
    session = trading_calendar.current_session(recorded_at)
    return min(recorded_at, trading_calendar.decision_time(session))

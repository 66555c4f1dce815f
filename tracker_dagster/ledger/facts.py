"""What people say, as events; what cannot be meant is refused with a sentence."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.events import Event

_Made = TypeVar("_Made", bound=Event)


def made(kind: type[_Made], **facts: Any) -> _Made:
    """An event of ``kind`` that says ``facts``.

    Raises:
        LedgerError: they are none, like a price below zero or an account without a name.
    """
    try:
        return kind(**facts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        told = str(first["msg"]).removeprefix("Value error, ")
        if first["loc"]:
            told = f"{first['input']!r} is no {first['loc'][-1]}: {told[:1].lower()}{told[1:]}"
        raise LedgerError(told) from None

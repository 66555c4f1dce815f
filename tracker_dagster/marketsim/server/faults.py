"""Fault switches: what can go wrong on the wire, for which paths, how often."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tracker_dagster.marketsim.world.randomness import stable_hash

#: Faults of the transport, applied to any request.
TRANSPORT = frozenset(
    {"rate_limit", "server_error", "html", "slow", "cut_body", "half_json", "drop_connection"}
)
#: Faults of REST answers.
ANSWERS = frozenset({"repeat_cursor", "drop_greeks", "open_interest_flip_flop"})
#: Faults of flat files; they hold for LIST, HEAD and GET alike until cleared.
FILES = frozenset(
    {
        "truncated_gzip",
        "wrong_crc",
        "empty_file",
        "wrong_day",
        "replaced",
        "extra_column",
        "reordered_header",
        "malformed_symbol",
        "negative_price",
        "duplicate_rows",
        "conflicting_rows",
        "html_file",
        "missing_file",
        "unentitled_file",
    }
)
KINDS = TRANSPORT | ANSWERS | FILES

_RATE_LIMIT_TEXT = (
    b'{"status":"ERROR","request_id":"00000000000000000000000000000429","error":"You\'ve exceeded'
    b" the maximum requests per minute, please wait or upgrade your subscription to continue."
    b' https://massive.com/pricing"}'
)
_HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad "
    b"Gateway</h1></center>\r\n<hr><center>nginx/1.19.2</center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(slots=True)
class Fault:
    """One switch.

    Attributes:
        kind: One of ``KINDS``.
        path: Glob over the request path, e.g. ``/v3/snapshot/*`` or ``*us_options_opra*``.
        count: Requests it hits before it wears off; None for ever. Ignored by file faults.
        probability: Chance to hit a matching request, decided by a seeded draw.
        options: rate_limit: body (default true), retry_after (seconds); server_error and html:
            status; slow: seconds; replaced: version.
    """

    kind: str
    path: str = "*"
    count: int | None = None
    probability: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}: one of {', '.join(sorted(KINDS))}")


class Faults:
    """The switches that are on."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._faults: list[Fault] = []
        self._made = 0
        self._requests = 0
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Switch a fault on."""
        with self._lock:
            self._made += 1
            fault.number = self._made
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._faults.clear()

    def listing(self) -> list[Fault]:
        """The switches that are on, oldest first."""
        return list(self._faults)

    def take(self, path: str, kinds: frozenset[str]) -> Fault | None:
        """The first matching fault that hits this request; its count goes down by one."""
        with self._lock:
            self._requests += 1
            for fault in self._faults:
                if fault.kind not in kinds or not fnmatchcase(path, fault.path):
                    continue
                if fault.count is not None and fault.count <= 0:
                    continue
                draw = stable_hash(self._seed, fault.number, self._requests) / 2.0**64
                if draw >= fault.probability:
                    continue
                if fault.count is not None:
                    fault.count -= 1
                return fault
        return None

    def standing(self, path: str) -> tuple[Fault, ...]:
        """Every file fault on ``path``, oldest first."""
        return tuple(
            fault for fault in self._faults if fault.kind in FILES and fnmatchcase(path, fault.path)
        )


class FaultyTransport:
    """ASGI middleware, outermost: spoils responses as the switches say."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self.app = app
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, spoiled or not."""
        if scope["type"] != "http" or scope["path"].startswith("/_sim"):
            await self.app(scope, receive, send)
            return
        fault = self.faults.take(scope["path"], TRANSPORT)
        if fault is None:
            await self.app(scope, receive, send)
        elif fault.kind == "slow":
            await asyncio.sleep(float(fault.options.get("seconds", 1.0)))
            await self.app(scope, receive, send)
        elif fault.kind == "drop_connection":
            await _hang_up(send)
        elif fault.kind in ("cut_body", "half_json"):
            await self._halve(scope, receive, send, lie=fault.kind == "cut_body")
        else:
            await _answer(send, fault)

    async def _halve(self, scope: Scope, receive: Receive, send: Send, lie: bool) -> None:
        """Send half of the body; with ``lie`` announce all of it and hang up."""
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app({**scope, "headers": headers}, receive, keep)
        body = b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")
        start = next(m for m in messages if m["type"] == "http.response.start")
        half = body[: len(body) // 2]
        length = len(body) if lie else len(half)
        kept = [
            (name, value) for name, value in start["headers"] if name.lower() != b"content-length"
        ]
        await send({**start, "headers": [*kept, (b"content-length", str(length).encode())]})
        await send({"type": "http.response.body", "body": half, "more_body": lie})
        if lie:
            await _hang_up(send)


async def _answer(send: Send, fault: Fault) -> None:
    options = fault.options
    headers = [(b"content-type", b"application/json")]
    if fault.kind == "rate_limit":
        status, body = 429, _RATE_LIMIT_TEXT if options.get("body", True) else b""
        if (wait := options.get("retry_after")) is not None:
            headers.append((b"retry-after", str(wait).encode()))
    elif fault.kind == "html":
        status, body = int(options.get("status", 502)), _HTML
        headers = [(b"content-type", b"text/html")]
    else:
        status = int(options.get("status", 500))
        body = (
            b'{"status":"ERROR","request_id":"00000000000000000000000000000500","error":"internal"}'
        )
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _hang_up(send: Send) -> None:
    # ASGI has no word for a dropped connection; uvicorn's send is a method of the request cycle
    # that holds the socket's transport.
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.close()
        await asyncio.sleep(0.02)

"""What one HTTP exchange is made of: addresses, credentials, bodies, dates. No I/O here."""

from __future__ import annotations

import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import SecretStr

from tracker_dagster.sources.errors import MalformedResponseError

CREDENTIAL_PARAMETERS = frozenset({"apikey", "api_key", "token", "access_token"})


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """``Authorization: Bearer <key>``."""

    key: SecretStr

    def headers(self) -> dict[str, str]:
        """The header that carries the key."""
        return {"Authorization": f"Bearer {self.key.get_secret_value()}"}

    def secrets(self) -> tuple[str, ...]:
        """What must never be seen in a message."""
        value = self.key.get_secret_value()
        return (value,) if value else ()


@dataclass(frozen=True, slots=True)
class NoAuth:
    """A vendor that needs no credentials."""

    def headers(self) -> dict[str, str]:
        """No header."""
        return {}

    def secrets(self) -> tuple[str, ...]:
        """Nothing to hide."""
        return ()


Auth = BearerAuth | NoAuth


@dataclass(frozen=True, slots=True)
class Response:
    """One successful answer: the whole body, decoded from its transfer encoding."""

    status: int
    url_path: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime

    @property
    def request_id(self) -> str | None:
        """The vendor's identifier of the request, when it sent one."""
        return self.headers.get("X-Request-Id")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            MalformedResponseError: the body is HTML, empty, or cut JSON.
        """
        return decode_json(self.body, url_path=self.url_path, request_id=self.request_id)


def decode_json(body: bytes, *, url_path: str | None = None, request_id: str | None = None) -> Any:
    """Decode JSON, or say what came instead.

    Raises:
        MalformedResponseError: not JSON; the message says whether it was empty, HTML or cut.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        head = body[:200].lstrip().lower()
        if not body.strip():
            kind = "an empty body"
        elif head.startswith(b"<"):
            kind = "an HTML or XML page"
        elif head[:1] in (b"{", b"["):
            kind = "JSON that is cut or damaged"
        else:
            kind = "something else"
    raise MalformedResponseError(
        f"expected JSON, got {kind} ({len(body)} bytes)", url_path=url_path, request_id=request_id
    )


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what has to match before a credential is sent."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or default


def is_loopback(url: str) -> bool:
    """Whether ``url`` is on this machine, out of reach of any proxy of the environment."""
    host = origin(url)[1]
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def safe_path(url: str) -> str:
    """Path and query of ``url`` without host, user or credential parameters."""
    parts: SplitResult = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if any(name.lower() in CREDENTIAL_PARAMETERS for name, _ in pairs):
        kept = [(n, v) for n, v in pairs if n.lower() not in CREDENTIAL_PARAMETERS]
        return f"{parts.path}?{urlencode(kept)}" if kept else parts.path
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds to wait for a Retry-After header (a number of seconds or an HTTP date)."""
    if not value:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        moment = http_date(text)
        if moment is None:
            return None
        seconds = (moment - now).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None


def http_date(text: str | None) -> datetime | None:
    """An HTTP date (aware), or None when it is absent or unreadable."""
    try:
        moment = email.utils.parsedate_to_datetime(text or "")
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def explain(body: bytes) -> tuple[str | None, str, str | None]:
    """Code, message and request id of an error body, whatever its shape."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        message = parsed.get("error") or parsed.get("message") or ""
        code, request_id = parsed.get("status"), parsed.get("request_id")
        return (
            str(code)[:64] if code else None,
            str(message)[:300],
            str(request_id)[:64] if request_id else None,
        )
    text = body[:300].decode("utf-8", "replace").strip()
    return None, "" if text.startswith("<") else text.splitlines()[0] if text else "", None

"""How Massive's REST answers look: envelopes, errors, authentication, filters and cursors."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from hashlib import md5
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.trading_calendar import EASTERN, CalendarError

Row = dict[str, Any]
Params = Mapping[str, str]

PLAN_MESSAGE = (
    "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"
)
TIMEFRAME_MESSAGE = (
    "Your plan doesn't include this data timeframe. "
    "Please upgrade your plan at https://massive.com/pricing"
)
RATE_MESSAGE = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription "
    "to continue. https://massive.com/pricing"
)


class ApiError(Exception):
    """An answer other than 200; ``field`` names the key that carries the text."""

    def __init__(self, code: int, status: str, text: str, field: str = "error") -> None:
        super().__init__(text)
        self.code, self.status, self.text, self.field = code, status, text, field


def bad_request(text: str) -> ApiError:
    """A 400."""
    return ApiError(400, "ERROR", text)


def not_entitled(text: str = PLAN_MESSAGE) -> ApiError:
    """A 403."""
    return ApiError(403, "NOT_AUTHORIZED", text, "message")


def not_found(text: str = "Data not found.") -> ApiError:
    """A 404 of a known route."""
    return ApiError(404, "NOT_FOUND", text, "message")


class Call:
    """One authenticated REST request."""

    def __init__(self, request: Request, simulation: Simulation) -> None:
        self.request = request
        self.sim = simulation
        self.path = request.url.path
        self.params: dict[str, str] = {
            name: value for name, value in request.query_params.items() if name != "apiKey"
        }
        self.now = simulation.clock.now()
        self.today = self.now.astimezone(EASTERN).date()
        self.visible_until = self.now - timedelta(minutes=simulation.plan.delay_minutes)
        # A hash of the request, not a counter: the same question at the same simulated moment
        # must give the same bytes.
        asked = f"{self.path}?{urlencode(sorted(self.params.items()))}@{self.now.isoformat()}"
        self.request_id = md5(asked.encode(), usedforsecurity=False).hexdigest()

    @property
    def base(self) -> str:
        """Scheme and host that the client called."""
        return f"{self.request.url.scheme}://{self.request.headers.get('host', 'localhost')}"

    def text(self, name: str, default: str | None = None) -> str | None:
        """A query parameter; an empty one counts as absent."""
        return self.params.get(name) or default

    def flag(self, name: str, default: bool) -> bool:
        """A boolean query parameter."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false"):
            raise bad_request(f"Could not parse the boolean parameter: '{name}'.")
        return value.lower() == "true"

    def day(self, name: str) -> date | None:
        """A date query parameter."""
        value = self.text(name)
        return None if value is None else parse_day(value, name)

    def limit(self, default: int, most: int) -> int:
        """The page size."""
        value = self.text("limit", str(default))
        try:
            size = int(value or default)
        except ValueError:
            raise bad_request("Could not parse the limit parameter: not an integer.") from None
        if not 1 <= size <= most:
            raise bad_request(f"limit must be between 1 and {most}.")
        return size


def parse_day(value: str, name: str) -> date:
    """A ``YYYY-MM-DD`` parameter."""
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise bad_request(
            f"Could not parse the time parameter: '{name}'. Use YYYY-MM-DD or Unix MS Timestamps"
        ) from None


#: The market's own time, for users who live by it.
CLOCK_PATH = "/v1/marketstatus/now"


class RateLimiter:
    """The free plan's sliding minute, by the real clock."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def allows(self, per_minute: int | None) -> bool:
        """Count a request; False when it is one too many."""
        if per_minute is None:
            return True
        now = time.monotonic()
        while self._calls and now - self._calls[0] >= 60:
            self._calls.popleft()
        if len(self._calls) >= per_minute:
            return False
        self._calls.append(now)
        return True


def authenticate(request: Request, simulation: Simulation) -> None:
    """Accept a Bearer header or an apiKey parameter.

    Raises:
        ApiError: 401, without a key or with an unknown one.
    """
    header = request.headers.get("authorization", "")
    key = header[7:].strip() if header.lower().startswith("bearer ") else ""
    key = key or request.query_params.get("apiKey", "")
    if not key:
        raise ApiError(401, "ERROR", "API Key was not provided")
    if not simulation.accepts(key):
        raise ApiError(401, "ERROR", "Unknown API Key")


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, and the query of the next."""

    rows: list[Row]
    next_url: str | None


def endpoint(
    simulation: Simulation, limiter: RateLimiter, handler: Handler
) -> Callable[[Request], Response]:
    """Wrap a handler that returns a JSON body into a Starlette endpoint."""

    def serve(request: Request) -> Response:
        call = Call(request, simulation)
        try:
            authenticate(request, simulation)
            # Here it is also the clock that users' programs live by; a vendor's clock is their own.
            is_clock = call.path == CLOCK_PATH
            if not is_clock and not limiter.allows(simulation.plan.requests_per_minute):
                raise ApiError(429, "ERROR", RATE_MESSAGE)
            body = handler(call)
        except (CalendarError, OverflowError):
            error = bad_request("Could not parse the time parameter.")
            body = {"status": error.status, "request_id": call.request_id, "error": error.text}
            return _json(call, body, error.code)
        except ApiError as error:
            body = {"status": error.status, "request_id": call.request_id, error.field: error.text}
            return _json(call, body, error.code)
        return _json(call, body, 200)

    return serve


def _json(call: Call, body: Any, code: int) -> Response:
    data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    headers = {
        "X-Request-Id": call.request_id,
        "Server": "nginx/1.19.2",
        "Vary": "Accept-Encoding",
        "Strict-Transport-Security": "max-age=15724800; includeSubDomains",
    }
    if isinstance(body, dict):
        if body.get("next_url") and call.path.startswith("/v3/"):
            headers["Link"] = f'<{body["next_url"]}>; rel="next"'
        if call.path.startswith("/v3/") and isinstance(body.get("results"), list):
            headers["X-Item-Count"] = str(len(body["results"]))
    if len(data) > 1000 and "gzip" in call.request.headers.get("accept-encoding", ""):
        data = gzip.compress(data, 1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(data, code, headers, "application/json")


def unknown_route(request: Request) -> Response:
    """What a path outside the API answers."""
    return PlainTextResponse("404 page not found", 404)


def listing(call: Call, page: Page, count: bool = False) -> Row:
    """The v3 list envelope."""
    body: Row = {"status": "OK", "request_id": call.request_id, "results": page.rows}
    if count:
        body["count"] = len(page.rows)
    if page.next_url is not None:
        body["next_url"] = page.next_url
    return body


# --- cursors ------------------------------------------------------------------------------


def encode_cursor(values: Mapping[str, Any]) -> str:
    """Unpadded base64 of a plain query string, as the vendor does."""
    return base64.urlsafe_b64encode(urlencode(values).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> dict[str, str]:
    """The query string inside a cursor.

    Raises:
        ApiError: 400, it is not one of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise bad_request("Could not parse the cursor parameter.") from None
    return dict(parse_qsl(text, keep_blank_values=True))


def resume(call: Call) -> int:
    """Apply the cursor's parameters to the call and return the offset it stands for."""
    cursor = call.params.pop("cursor", None)
    if not cursor:
        return 0
    call.params = decode_cursor(cursor)
    after = call.params.pop("ap", "")
    if not after.isdigit():
        raise bad_request("Could not parse the cursor parameter.")
    return int(after)


# --- filters ------------------------------------------------------------------------------

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def _holds(operator: Callable[[Any, Any], bool], edge: Any, value: Any) -> bool:
    return operator(value, edge)


def field_filter(call: Call, name: str, number: bool = False) -> Callable[[Any], bool]:
    """The conditions that the call puts on one field (``name``, ``name.gte``, ``name.any_of``).

    Raises:
        ApiError: 400, a value that is no number where one is due.
    """

    def parse(value: str) -> Any:
        if not number:
            return value
        try:
            return float(value)
        except ValueError:
            raise bad_request(f"Could not parse the parameter: '{name}'.") from None

    tests: list[Callable[[Any], bool]] = []
    if (exact := call.text(name)) is not None:
        wanted = parse(exact)
        tests.append(lambda value: value == wanted)
    if (several := call.text(f"{name}.any_of")) is not None:
        options = {parse(item) for item in several.split(",")}
        tests.append(lambda value: value in options)
    for suffix, operator in _OPERATORS.items():
        if (bound := call.text(f"{name}.{suffix}")) is not None:
            tests.append(partial(_holds, operator, parse(bound)))
    return lambda value: all(test(value) for test in tests)


def _sort_key(name: str, row: Row) -> tuple[bool, Any]:
    return (name in row, row.get(name))


def arrange(
    call: Call, rows: Sequence[Row], sorts: Sequence[str], default: str, order: str = "asc"
) -> list[Row]:
    """Rows in the asked order, v3 style (``sort=field&order=desc``) or ``sort=field.desc``."""
    wanted = call.text("sort", default) or default
    direction = call.text("order", order) or order
    ordered = list(rows)
    for part in reversed(wanted.split(",")):
        name, _, suffix = part.partition(".")
        if name not in sorts:
            raise bad_request(f"Invalid sort field: '{name}'.")
        way = suffix or direction
        if way not in ("asc", "desc"):
            raise bad_request("order must be asc or desc.")
        ordered.sort(key=partial(_sort_key, name), reverse=way == "desc")
    return ordered


def paginate(
    call: Call, total: int, offset: int, size: int, build: Callable[[int, int], list[Row]]
) -> Page:
    """Rows ``offset`` to ``offset + size`` of ``total`` and the address of the rest."""
    end = min(offset + size, total)
    rows = build(offset, end) if offset < total else []
    if end >= total:
        return Page(rows, None)
    stuck = call.sim.faults.take(call.path, frozenset({"repeat_cursor"})) is not None
    cursor = encode_cursor({"ap": offset if stuck else end, "as": "", **call.params})
    return Page(rows, f"{call.base}{call.path}?cursor={cursor}")


def page_of(call: Call, rows: Sequence[Row], offset: int, size: int) -> Page:
    """``paginate`` over rows that exist already."""
    return paginate(call, len(rows), offset, size, lambda a, b: list(rows[a:b]))


def nanoseconds(moment: datetime) -> int:
    """UTC nanoseconds of a moment."""
    return int(moment.timestamp() * 1000) * 1_000_000


def milliseconds(moment: datetime) -> int:
    """UTC milliseconds of a moment."""
    return int(moment.timestamp() * 1000)


def number(value: float, digits: int = 4) -> float | int:
    """A JSON number: an integer when it is one, as the vendor prints."""
    rounded = round(float(value), digits)
    return int(rounded) if rounded.is_integer() else rounded

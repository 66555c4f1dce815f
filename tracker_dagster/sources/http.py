"""The one HTTP session every vendor client stands on: pacing, retries, credentials, limits.

Nothing here knows a vendor's envelopes or endpoints.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlencode, urljoin

import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter

from tracker_dagster import __version__
from tracker_dagster.sources.errors import (
    BadRequestError,
    MalformedResponseError,
    NotEntitledError,
    NotFoundError,
    RateLimitedError,
    SourceError,
    TransientError,
    UnauthorizedError,
)
from tracker_dagster.sources.messages import (
    Auth,
    NoAuth,
    Response,
    explain,
    http_date,
    is_loopback,
    origin,
    retry_after_seconds,
    safe_path,
)
from tracker_dagster.sources.throttle import TokenBucket

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
#: 499 is a proxy saying that the client went away; the vendor's own client retries it too.
RETRIED = frozenset({408, 429, 499})
CHUNK = 1 << 16
#: A connection or a body that broke. requests does not wrap what goes wrong while the raw
#: body is read, hence urllib3's own errors.
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)

ParamValue = str | int | float | bool | None
Params = Mapping[str, ParamValue]


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds allowed to connect, between two reads, and for one whole response."""

    connect: float = 10.0
    read: float = 30.0
    total: float = 120.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to insist.

    Waits grow twofold from ``backoff`` up to ``backoff_cap`` and are drawn uniformly from
    zero up to that (full jitter), so that clients which failed together do not come back
    together. A 429 without Retry-After starts at ``rate_limit_backoff`` and is drawn from
    the upper half: its waits must add up to the vendor's one-minute window.
    """

    max_tries: int = 6
    max_seconds: float = 180.0
    backoff: float = 0.5
    backoff_cap: float = 20.0
    rate_limit_backoff: float = 4.0
    rate_limit_cap: float = 60.0


NO_RETRY = RetryPolicy(max_tries=1)


@dataclass(slots=True)
class HttpStats:
    """What a session has spent so far."""

    calls: int = 0
    retries: int = 0
    rate_limited: int = 0
    bytes_received: int = 0
    seconds_waited: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _RetryAfterError(Exception):
    """Carries a failed attempt to the retry loop, with the wait the vendor asked for."""

    def __init__(self, error: SourceError, asked: float | None) -> None:
        super().__init__()
        self.error = error
        self.asked = asked


class _Verbatim(requests.auth.AuthBase):
    """Sets exactly our headers; also keeps requests from adding those of a ``.netrc``."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


class HttpSession:
    """GET with credentials for one vendor; safe to share between threads.

    Args:
        base_url: scheme, host, port and path prefix of the vendor.
        auth: attached only while scheme, host and port equal those of ``base_url``.
        requests_per_minute: the plan's limit; None for none.
        timeout: limits of one response.
        retry: how long to insist on a transient failure.
        headers: sent with each request.
        now: wall clock (aware), for ``received_at`` and HTTP dates.
        monotonic: seconds, for pacing and deadlines.
        sleep: how to wait.
        rng: source of jitter.
    """

    def __init__(
        self,
        base_url: str,
        auth: Auth | None = None,
        *,
        requests_per_minute: int | None = None,
        timeout: Timeout | None = None,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        pool_size: int = 16,
        now: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.stats = HttpStats()
        self._origin = origin(self.base_url)
        self._auth: Auth = auth or NoAuth()
        self._timeout = timeout or Timeout()
        self._retry = retry or RetryPolicy()
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._rng = rng or random.SystemRandom()
        self._bucket = TokenBucket(requests_per_minute, clock=monotonic, sleep=sleep)
        self._mutex = threading.Lock()
        self._session = requests.Session()
        self._session.headers.update(
            {"User-Agent": f"tracker_dagster/{__version__}", "Accept": "application/json"}
        )
        self._session.headers.update(headers or {})
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # A proxy of the environment cannot reach the simulated market on this machine.
        self._session.trust_env = not is_loopback(self.base_url)
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __repr__(self) -> str:
        return f"HttpSession({self._origin[0]}://{self._origin[1]}:{self._origin[2]})"

    def close(self) -> None:
        """Close pooled connections."""
        self._session.close()

    def url(self, path_or_url: str, params: Params | None = None) -> str:
        """The absolute URL for a path below the base, or an absolute URL unchanged.

        Parameters whose value is None are left out; booleans become ``true`` and ``false``.
        """
        absolute = path_or_url.startswith(("http://", "https://"))
        url = path_or_url if absolute else f"{self.base_url}/{path_or_url.lstrip('/')}"
        given = {k: _text(v) for k, v in (params or {}).items() if v is not None}
        if not given:
            return url
        return f"{url}{'&' if '?' in url else '?'}{urlencode(given, safe=',:')}"

    def get(self, path_or_url: str, params: Params | None = None) -> Response:
        """GET, with retries of what may pass.

        Raises:
            TransientError: connection, timeout, cut body, 5xx, 499 or (as
                RateLimitedError) 429, still failing after the last try.
            UnauthorizedError, NotEntitledError, NotFoundError, BadRequestError: the
                vendor's 401, 403, 404 and other 4xx; not retried.
        """
        url = self.url(path_or_url, params)
        policy = self._retry
        started = self._monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_RetryAfterError),
            stop=tenacity.stop_after_attempt(policy.max_tries),
            wait=self._wait,
            sleep=self._pause,
            before_sleep=lambda state: self._guard(state, started),
            reraise=True,
        )
        failure: SourceError
        try:
            return retrying(self._attempt, url)
        except _RetryAfterError as exc:
            failure = exc.error
        except SourceError as exc:
            failure = exc
        # Raised afresh, outside the handler: frames below hold headers and error bodies, and
        # some tools print the locals of a traceback.
        raise failure.with_traceback(None)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        failed = state.outcome.exception() if state.outcome else None
        assert isinstance(failed, _RetryAfterError)
        policy, doubled = self._retry, 2.0 ** (state.attempt_number - 1)
        if failed.asked is not None:
            # A little jitter after the asked-for instant spreads the clients it was told to.
            return failed.asked + self._rng.uniform(0, policy.backoff)
        if isinstance(failed.error, RateLimitedError):
            ceiling = min(policy.rate_limit_cap, policy.rate_limit_backoff * doubled)
            return self._rng.uniform(ceiling / 2, ceiling)
        return self._rng.uniform(0, min(policy.backoff_cap, policy.backoff * doubled))

    def _guard(self, state: tenacity.RetryCallState, started: float) -> None:
        """Give up now rather than sleep past the time allowed."""
        delay = state.next_action.sleep if state.next_action else 0.0
        failed = state.outcome.exception() if state.outcome else None
        assert isinstance(failed, _RetryAfterError)
        if self._monotonic() - started + delay > self._retry.max_seconds:
            raise failed
        if isinstance(failed.error, RateLimitedError):
            self._bucket.close_for(delay)
        with self._mutex:
            self.stats.retries += 1

    def _pause(self, seconds: float) -> None:
        with self._mutex:
            self.stats.seconds_waited += seconds
        self._sleep(seconds)

    def _attempt(self, url: str) -> Response:
        for _ in range(MAX_REDIRECTS + 1):
            status, headers, body = self._exchange(url)
            if status in REDIRECTS and headers.get("Location"):
                url = urljoin(url, headers["Location"])
                continue
            if 200 <= status < 300:
                return Response(status, safe_path(url), headers, body, self._now())
            raise self._failure(status, headers, body, url)
        raise MalformedResponseError("too many redirects", url_path=safe_path(url))

    def _exchange(self, url: str) -> tuple[int, Mapping[str, str], bytes]:
        waited = self._bucket.take()
        with self._mutex:
            self.stats.calls += 1
            self.stats.seconds_waited += waited
        same_origin = origin(url) == self._origin
        auth = _Verbatim(self._auth.headers() if same_origin else {})
        broken: SourceError | None = None
        try:
            with self._session.get(
                url,
                auth=auth,
                timeout=(self._timeout.connect, self._timeout.read),
                stream=True,
                allow_redirects=False,
            ) as raw:
                body = self._body(raw)
                status, headers = raw.status_code, raw.headers
        except BROKEN as exc:
            broken = TransientError(self._describe(exc), url_path=safe_path(url))
        except requests.exceptions.RequestException as exc:
            broken = BadRequestError(
                f"not a usable address: {type(exc).__name__}", url_path=safe_path(url)
            )
        if isinstance(broken, TransientError):
            raise _RetryAfterError(broken, None)
        if broken:
            raise broken
        with self._mutex:
            self.stats.bytes_received += len(body)
            self.stats.statuses[status] = self.stats.statuses.get(status, 0) + 1
        return status, headers, body

    def _body(self, raw: requests.Response) -> bytes:
        """The whole body, within the time allowed for one response.

        Read by what has arrived rather than by full blocks: a server that drips a byte a
        second never trips the timeout between two reads.
        """
        deadline = self._monotonic() + self._timeout.total
        parts: list[bytes] = []
        while chunk := raw.raw.read1(CHUNK, decode_content=True):
            parts.append(chunk)
            if self._monotonic() > deadline:
                raise requests.Timeout("response too slow")
        return b"".join(parts)

    def _describe(self, exc: BaseException) -> str:
        reasons = str(exc)
        place = f"{self._origin[1]}:{self._origin[2]}"
        if isinstance(exc, (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)):
            return f"no complete answer from {place} in time"
        if "Connection refused" in reasons or "Errno 111" in reasons:
            return f"connection refused by {place}"
        if isinstance(exc, requests.ConnectionError):
            return f"no connection to {place} ({type(exc).__name__})"
        return f"the body from {place} was cut short or damaged ({type(exc).__name__})"

    def _failure(
        self, status: int, headers: Mapping[str, str], body: bytes, url: str
    ) -> SourceError | _RetryAfterError:
        code, text, request_id = explain(body)
        message = self._redact(text) or f"the vendor answered HTTP {status}"
        facts: dict[str, Any] = {
            "status": status,
            "code": self._redact(code) if code else None,
            "request_id": headers.get("X-Request-Id") or request_id,
            "url_path": safe_path(url),
        }
        # An HTTP date is meant by the vendor's clock, which the response states.
        sent = http_date(headers.get("Date")) or self._now()
        asked = retry_after_seconds(headers.get("Retry-After"), sent)
        if status == 429:
            with self._mutex:
                self.stats.rate_limited += 1
            return _RetryAfterError(RateLimitedError(message, retry_after=asked, **facts), asked)
        if status in RETRIED or status >= 500:
            return _RetryAfterError(TransientError(message, **facts), asked)
        kind = {401: UnauthorizedError, 403: NotEntitledError, 404: NotFoundError}
        return kind.get(status, BadRequestError)(message, **facts)

    def _redact(self, text: str) -> str:
        for secret in self._auth.secrets():
            text = text.replace(secret, "[key]")
        return text


def _text(value: ParamValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

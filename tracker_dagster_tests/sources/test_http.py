from __future__ import annotations

import gzip
import logging
import random
import socket
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr

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
from tracker_dagster.sources.http import (
    NO_RETRY,
    HttpSession,
    RetryPolicy,
    Timeout,
)
from tracker_dagster.sources.messages import BearerAuth, retry_after_seconds, safe_path
from tracker_dagster_tests.sources.conftest import KEY, everything_said
from tracker_dagster_tests.sources.scripted_server import Reply, reply_json

OK = reply_json({"status": "OK"})


def test_a_good_answer_carries_body_request_id_and_time(serve, session):
    server = serve(reply_json({"a": 1}, headers={"X-Request-Id": "f" * 32}))
    moment = datetime(2026, 6, 3, 15, tzinfo=UTC)
    response = session(server.url, now=lambda: moment).get("/v1/x", {"b": True, "c": None, "d": 2})
    assert response.json() == {"a": 1}
    assert response.request_id == "f" * 32
    assert response.received_at == moment
    assert server.paths == ["/v1/x?b=true&d=2"]
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


def test_a_base_url_with_a_path_is_kept(serve, session):
    server = serve(OK)
    session(f"{server.url}/proxy/").get("/v1/x")
    assert server.paths == ["/proxy/v1/x"]


@pytest.mark.feature(4)
@pytest.mark.parametrize("status", [499, 500, 502, 503, 504, 429])
def test_what_may_pass_is_tried_again(serve, session, status):
    server = serve(Reply(status, b"<html>bad gateway</html>"), Reply(status), OK)
    http = session(server.url)
    assert http.get("/x").status == 200
    assert len(server.seen) == 3
    assert (http.stats.calls, http.stats.retries) == (3, 2)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, UnauthorizedError),
        (403, NotEntitledError),
        (404, NotFoundError),
        (414, BadRequestError),
        (422, BadRequestError),
    ],
)
def test_permanent_errors_are_told_apart_and_asked_once(serve, session, status, kind):
    server = serve(
        reply_json({"status": "ERR", "request_id": "r1", "message": "told by the vendor"}, status)
    )
    with pytest.raises(SourceError) as caught:
        session(server.url).get("/v3/x?limit=1")
    error = caught.value
    assert type(error) is kind
    assert not error.transient
    assert (error.status, error.code, error.request_id) == (status, "ERR", "r1")
    assert "told by the vendor" in str(error)
    assert error.url_path == "/v3/x?limit=1"
    assert len(server.seen) == 1


def test_an_error_may_be_plain_text(serve, session):
    server = serve(Reply(404, b"404 page not found", {"Content-Type": "text/plain"}))
    with pytest.raises(NotFoundError, match="404 page not found"):
        session(server.url).get("/x")


def test_an_html_error_page_is_not_quoted(serve, session):
    server = serve(Reply(502, b"<html><body>nginx</body></html>"))
    with pytest.raises(TransientError) as caught:
        session(server.url).get("/x")
    assert caught.value.status == 502
    assert "<html>" not in str(caught.value)


def test_tries_end(serve, session):
    server = serve(Reply(503))
    with pytest.raises(TransientError):
        session(server.url).get("/x")
    assert len(server.seen) == 4


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_cut_body_is_noticed_and_fetched_again(serve, session, chunked, compressed):
    whole = b'{"status":"OK","results":[' + b"1," * 5000 + b"1]}"
    body = gzip.compress(whole) if compressed else whole
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    server = serve(
        Reply(200, body, headers, cut=9, chunked=chunked),
        Reply(200, body, headers, chunked=chunked),
    )
    assert session(server.url).get("/x").body == whole
    assert len(server.seen) == 2


def test_a_body_that_stays_cut_is_transient(serve, session):
    server = serve(Reply(200, b'{"status":"OK"}', cut=1))
    with pytest.raises(TransientError, match="cut short"):
        session(server.url).get("/x")


def test_a_dropped_socket_is_tried_again(serve, session):
    server = serve(Reply(drop=True), OK)
    assert session(server.url).get("/x").status == 200


def test_a_refused_connection_says_so(session):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransientError, match=f"connection refused by 127.0.0.1:{port}"):
        session(f"http://127.0.0.1:{port}").get("/x")


def test_a_slow_server_times_out(serve, session):
    server = serve(Reply(200, b"{}" * 10, drip=0.5))
    http = session(server.url, timeout=Timeout(read=0.1), retry=NO_RETRY)
    with pytest.raises(TransientError, match="in time"):
        http.get("/x")


def test_a_dripping_server_cannot_hold_us_for_ever(serve, session):
    server = serve(Reply(200, b" " * 1000, drip=0.02))
    http = session(server.url, timeout=Timeout(read=5, total=0.3), retry=NO_RETRY)
    started = time.monotonic()
    with pytest.raises(TransientError, match="in time"):
        http.get("/x")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("body", "word"),
    [(b"<html>login</html>", "HTML"), (b'{"results":[1,', "cut"), (b"", "empty"), (b"ok", "else")],
)
def test_a_success_that_is_not_json_says_what_it_is(serve, session, body, word):
    server = serve(Reply(200, body))
    with pytest.raises(MalformedResponseError, match=word) as caught:
        session(server.url).get("/x").json()
    assert not caught.value.transient


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_retry_after_is_honoured_in_seconds_and_as_a_date_of_the_vendor(serve, session):
    sent = datetime(2031, 6, 3, 15, tzinfo=UTC)
    dated = {
        "Date": format_datetime(sent, usegmt=True),
        "Retry-After": format_datetime(sent + timedelta(seconds=9), usegmt=True),
    }
    server = serve(Reply(429, b"", {"Retry-After": "7"}), Reply(503, b"", dated), OK)
    clock = Time()
    http = session(server.url, monotonic=clock, sleep=clock.sleep, retry=RetryPolicy(backoff=0))
    http.get("/x")
    assert clock.now - 1000 == pytest.approx(7 + 9)
    assert http.stats.rate_limited == 1
    assert http.stats.seconds_waited == pytest.approx(16)


def test_retry_after_reads_seconds_and_dates():
    now = datetime(2026, 6, 3, 15, tzinfo=UTC)
    assert retry_after_seconds("2.5", now) == 2.5
    assert retry_after_seconds("Wed, 03 Jun 2026 15:00:30 GMT", now) == 30
    assert retry_after_seconds("Wed, 03 Jun 2026 14:00:00 GMT", now) == 0
    assert retry_after_seconds("-5", now) == 0
    for nonsense in (None, "", "soon", "inf", "nan"):
        assert retry_after_seconds(nonsense, now) is None


def test_no_waiting_beyond_the_time_allowed(serve, session):
    server = serve(Reply(429, b"", {"Retry-After": "3600"}))
    clock = Time()
    with pytest.raises(RateLimitedError) as caught:
        session(
            server.url, monotonic=clock, sleep=clock.sleep, retry=RetryPolicy(max_seconds=60)
        ).get("/x")
    assert caught.value.retry_after == 3600
    assert caught.value.transient
    assert clock.slept == []
    assert len(server.seen) == 1


@pytest.mark.feature(4)
def test_a_429_without_a_word_is_outwaited(serve, session):
    """The vendor's window is a minute; the waits of the default policy cover it."""
    for draw in (random.Random(seed) for seed in range(5)):
        server = serve(Reply(429))
        clock = Time()
        http = session(
            server.url, monotonic=clock, sleep=clock.sleep, rng=draw, retry=RetryPolicy()
        )
        with pytest.raises(RateLimitedError):
            http.get("/x")
        assert clock.now - 1000 >= 60


def test_backoff_grows_and_is_jittered(serve, session):
    server = serve(Reply(500))
    clock = Time()
    policy = RetryPolicy(max_tries=8, max_seconds=1e9, backoff=1, backoff_cap=16)
    http = session(
        server.url, monotonic=clock, sleep=clock.sleep, rng=random.Random(4), retry=policy
    )
    with pytest.raises(TransientError):
        http.get("/x")
    assert len(clock.slept) == 7
    assert all(0 <= s <= min(16, 2**n) for n, s in enumerate(clock.slept))
    assert len(set(clock.slept)) == 7


def test_the_key_stays_with_its_host_through_redirects(serve, session):
    other = serve(reply_json({"who": "other"}))
    server = serve(
        lambda path: (
            Reply(302, headers={"Location": f"{other.url}/elsewhere"})
            if path == "/away"
            else Reply(301, headers={"Location": "/here"})
            if path == "/moved"
            else OK
        )
    )
    http = session(server.url)
    assert http.get("/away").json() == {"who": "other"}
    assert "Authorization" not in other.seen[0].headers
    http.get("/moved")
    assert server.paths[-1] == "/here"
    assert server.seen[-1].headers["Authorization"] == f"Bearer {KEY}"


def test_the_key_is_not_sent_to_another_port_or_name(serve, session):
    other = serve(OK)
    server = serve(OK)
    http = session(server.url)
    http.get(f"{other.url}/x")
    http.get(f"http://localhost:{server.port}/x")
    assert "Authorization" not in other.seen[0].headers
    assert "Authorization" not in server.seen[0].headers


def test_a_netrc_adds_nothing(serve, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password netrc-secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server = serve(OK)
    HttpSession(server.url, BearerAuth(SecretStr(KEY))).get("/x")
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"
    HttpSession(server.url).get("/x")
    assert "Authorization" not in server.seen[1].headers


def test_redirects_end(serve, session):
    server = serve(Reply(302, headers={"Location": "/again"}))
    with pytest.raises(MalformedResponseError, match="redirects"):
        session(server.url).get("/x")


def test_no_cookie_is_kept(serve, session):
    server = serve(reply_json({}, headers={"Set-Cookie": "a=b; Path=/"}))
    http = session(server.url)
    http.get("/x")
    http.get("/x")
    assert "Cookie" not in server.seen[1].headers


@pytest.mark.parametrize(
    "reply",
    [
        reply_json({"error": f"Unknown API Key {KEY}", "status": KEY}, 401),
        Reply(500, f"boom {KEY}".encode()),
        Reply(429, KEY.encode()),
        Reply(200, b"{}", cut=1),
        Reply(drop=True),
        Reply(404, f"no {KEY}".encode()),
    ],
)
def test_the_key_is_in_no_message_repr_cause_log_or_traceback(serve, session, reply, caplog):
    server = serve(reply)
    http = session(server.url)
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceError) as caught:
        http.get("/x?limit=1")
    whole = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = str([frame.locals for frame in whole.stack if "_tests" not in frame.filename])
    assert "urllib3" in caplog.text
    for said in (everything_said(caught.value), repr(http), shown, caplog.text):
        assert KEY not in said


def test_a_key_in_a_url_of_the_vendor_is_not_repeated(serve, session):
    server = serve(Reply(404))
    with pytest.raises(NotFoundError) as caught:
        session(server.url).get(f"/x?apiKey={KEY}&limit=1")
    assert caught.value.url_path == "/x?limit=1"
    assert KEY not in everything_said(caught.value)


def test_paths_lose_credentials_only():
    assert safe_path("https://u:p@h/v3/x?cursor=YWJj&apiKey=s") == "/v3/x?cursor=YWJj"
    assert safe_path("https://h/v3/x?apikey=s") == "/v3/x"
    assert safe_path("https://h/v3/x?expiration_date.gte=2026-01-01") == (
        "/v3/x?expiration_date.gte=2026-01-01"
    )


def test_threads_share_one_session(serve, session):
    server = serve(OK)
    http = session(server.url)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(10):
                http.get("/x")
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert http.stats.calls == len(server.seen) == 80

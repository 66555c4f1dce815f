from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from tracker_dagster.sources.http import HttpSession, RetryPolicy
from tracker_dagster.sources.massive.rest import MassiveRest
from tracker_dagster.sources.messages import BearerAuth
from tracker_dagster_tests.sources.scripted_server import Reply, ScriptedServer

KEY = "k3y-that-must-not-leak"
QUICK = RetryPolicy(max_tries=4, backoff=0.001, backoff_cap=0.01, rate_limit_backoff=0.001)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Start scripted servers that end with the test."""
    servers: list[ScriptedServer] = []

    def start(*script: Reply | Callable[[str], Reply]) -> ScriptedServer:
        only = script[0] if len(script) == 1 and callable(script[0]) else list(script)
        server = ScriptedServer(only)  # type: ignore[arg-type]
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def session() -> Iterator[Callable[..., HttpSession]]:
    """Sessions with the test's key and quick retries."""
    made: list[HttpSession] = []

    def make(base_url: str, **options: Any) -> HttpSession:
        options.setdefault("retry", QUICK)
        made.append(HttpSession(base_url, BearerAuth(SecretStr(KEY)), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def massive() -> Iterator[Callable[..., MassiveRest]]:
    """REST clients with the test's key and quick retries."""
    made: list[MassiveRest] = []

    def make(base_url: str, **options: Any) -> MassiveRest:
        options.setdefault("retry", QUICK)
        made.append(MassiveRest(base_url, SecretStr(KEY), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def everything_said(exc: BaseException) -> str:
    """All a log could show of an exception: messages, reprs, causes and contexts."""
    said: list[str] = []
    pending: Iterable[BaseException | None] = [exc]
    while pending:
        following: list[BaseException | None] = []
        for one in pending:
            if one is not None:
                said += [str(one), repr(one), repr(one.args), repr(vars(one))]
                following += [one.__cause__, one.__context__]
        pending = [f for f in following if f is not None]
    return "\n".join(said)

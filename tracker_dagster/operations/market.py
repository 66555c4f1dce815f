"""The market a command works against: found, or, when it is the simulated one, started."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

NOT_RUNNING = "the simulated market is not running: `tracker sim`"
SIM_LOG = "marketsim.log"
#: Seconds that the simulated market may take to start on a busy machine.
START_TIMEOUT = 60.0
_STATUS_PATH = "/v1/marketstatus/now"
_PR_SET_PDEATHSIG = 1


class MarketDownError(RuntimeError):
    """The market does not answer, or not as one."""


def server_time(url: str, timeout: float = 5.0) -> str | None:
    """``serverTime`` of the market at ``url``; None when whoever answers there is no market.

    Raises:
        MarketDownError: nothing answers.
    """
    request = urllib.request.Request(  # noqa: S310 - settings allow http(s) alone
        url + _STATUS_PATH, headers={"Authorization": "Bearer simulated"}
    )
    # Proxies of the environment are not for this machine's own ports.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            body = json.load(answer)
    except urllib.error.HTTPError:
        return None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise MarketDownError(NOT_RUNNING) from error
    except (ValueError, OSError):
        return None
    return str(body["serverTime"]) if isinstance(body, dict) and "serverTime" in body else None


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether ``port`` of 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def die_with_parent() -> None:
    """In a child, before it becomes its program: end when the parent does, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def sim_command(port: int, seed: int, *options: str) -> list[str]:
    """The command line of a simulated market."""
    return [
        sys.executable,
        *("-m", "tracker_dagster.marketsim"),
        *("--port", str(port), "--seed", str(seed)),
        *options,
    ]


def stop(child: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """Ask a child to end, and make it when it does not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def simulated_market(log: Path, port: int, seed: int, options: Sequence[str] = ()) -> Iterator[str]:
    """A simulated market of our own for the body: its address.

    Args:
        log: file that its output is appended to.
        port: port of 127.0.0.1 to listen on.
        seed: seed of its world.
        options: further command-line options.

    Raises:
        MarketDownError: it did not start; the message ends with the last lines of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    with log.open("ab") as output:
        child = subprocess.Popen(
            sim_command(port, seed, *options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us; we end the child when we are done with it.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        _wait_until_healthy(child, url, log)
        yield url
    finally:
        stop(child)


def _wait_until_healthy(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise MarketDownError(
                f"the simulated market ended with code {child.returncode}:\n{_tail(log)}"
            )
        try:
            if server_time(url, timeout=2.0) is not None:
                return
        except MarketDownError:
            pass
        time.sleep(0.05)
    raise MarketDownError(
        f"the simulated market did not answer within {START_TIMEOUT:.0f} s:\n{_tail(log)}"
    )


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@contextmanager
def ensured_market(
    settings: Settings,
    *,
    options: Sequence[str] = (),
    on_start: Callable[[str], None] | None = None,
) -> Iterator[Settings]:
    """Settings of a market that answers, for the body.

    With the simulated market and nothing at its address one is started, its address put into the
    environment for Dagster's processes, and stopped at the end. Where another program has the
    port, a free one is taken. A real vendor is left to answer for itself.

    Args:
        settings: what the user configured.
        options: further options of a simulated market that has to be started.
        on_start: told the address of a market that was started.
    """
    if not settings.is_simulated or settings.rest_url != settings.sim_url:
        yield settings
        return
    address = urlsplit(settings.sim_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        answering = server_time(settings.sim_url) is not None
    except MarketDownError:
        answering = False
    if answering:
        # Whatever is started from here must look for it at the same place.
        with _environment("TRACKER_SIM_URL", settings.sim_url):
            yield settings
        return
    if not port_is_free(port):
        port = free_port()
    log = settings.run_dir / SIM_LOG
    options = [*options, "--instability", str(settings.sim_instability)]
    with (
        simulated_market(log, port, settings.sim_seed, options) as url,
        _environment("TRACKER_SIM_URL", url),
    ):
        if on_start is not None:
            on_start(url)
        yield settings.model_copy(update={"sim_url": url})


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    former = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if former is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = former


def silence_of(settings: Settings) -> str | None:
    """Why nothing can be had of the market that the settings name; None where it answers.

    It is asked once, whatever it is. A refusal is an answer.
    """
    # Imported here: a command that is not in trouble need not wait for it.
    from pydantic import SecretStr

    from tracker_dagster.sources.errors import RateLimitedError, SourceError, TransientError
    from tracker_dagster.sources.http import NO_RETRY
    from tracker_dagster.sources.massive.rest import MassiveRest

    key = settings.massive_api_key or SecretStr("simulated")
    rest = MassiveRest(settings.rest_url, key, retry=NO_RETRY)
    try:
        rest.market_status()
    except RateLimitedError:
        return None
    except TransientError as error:
        return str(error)
    except SourceError:
        return None
    finally:
        rest.close()
    return None


def require_answer(settings: Settings) -> None:
    """Make sure that the simulated market answers before work begins; a vendor is not asked.

    Raises:
        MarketDownError: nothing answers at its address, or something that is no market.
    """
    if settings.is_simulated and server_time(settings.rest_url) is None:
        raise MarketDownError(f"what answers at {settings.rest_url} is not a market")

"""What is configured and what follows from it: settings, market, plan. No key is ever shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, SecretStr

from tracker_dagster.operations.environment import assignments
from tracker_dagster.operations.market import NOT_RUNNING
from tracker_dagster.sources.errors import (
    NotEntitledError,
    RateLimitedError,
    SourceError,
    UnauthorizedError,
)
from tracker_dagster.sources.http import RetryPolicy, Timeout
from tracker_dagster.sources.massive.flat_files import Dataset, FlatFiles
from tracker_dagster.sources.massive.rest import MassiveRest
from tracker_dagster.trading_calendar import last_published_session

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

_ONCE = RetryPolicy(max_tries=1)
_PATIENCE = Timeout(connect=3.0, read=10.0, total=20.0)
_SIMULATED = SecretStr("simulated")
#: Further apart than this, a real vendor's clock and ours disagree on which bars are complete.
CLOCK_TOLERANCE = timedelta(seconds=30)


@dataclass(frozen=True)
class SettingLine:
    """One setting: the variable that sets it, what it is now, and where that came from."""

    variable: str
    value: str
    source: str
    description: str


@dataclass(frozen=True)
class Finding:
    """One thing that was tried. ``ok`` is None for what is off and needs nobody's attention."""

    what: str
    ok: bool | None
    detail: str


def setting_lines(settings: Settings, env_text: str) -> list[SettingLine]:
    """Every setting. A secret is "set" or "not set", nothing more.

    Args:
        settings: as loaded.
        env_text: content of the ``.env`` file they were loaded with.
    """
    in_file = assignments(env_text)
    lines = []
    for name, info in type(settings).model_fields.items():
        alias = info.validation_alias
        variable = (
            str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"TRACKER_{name.upper()}"
        )
        if os.environ.get(variable):
            source = "environment"
        elif in_file.get(variable):
            source = ".env"
        else:
            source = "default"
        secret = "SecretStr" in str(info.annotation)
        shown = _shown(getattr(settings, name), secret=secret)
        lines.append(SettingLine(variable, shown, source, info.description or ""))
    return lines


def _shown(value: Any, *, secret: bool) -> str:
    if secret:
        return "set" if value is not None else "not set"
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    text = str(value)
    if "://" in text:
        parts = urlsplit(text)
        # An address may carry credentials of a proxy or a stand-in.
        if parts.username or parts.password:
            text = text.replace(parts.netloc, f"***@{parts.hostname}")
    return text


def market_findings(settings: Settings) -> list[Finding]:
    """Ask the market for its clock, its files and what the plan includes; each once."""
    rest = MassiveRest(
        settings.rest_url,
        settings.massive_api_key or _SIMULATED,
        retry=_ONCE,
        timeout=_PATIENCE,
    )
    kind = "simulated market" if settings.is_simulated else "Massive REST"
    findings = []
    with closing(rest):
        try:
            now = rest.market_status().server_time
        except SourceError as error:
            advice = _advice(error, settings)
            if advice == NOT_RUNNING:
                return [Finding(kind, None, f"{advice}; commands that need it start it")]
            return [Finding(kind, False, advice)]
        findings.append(Finding(kind, True, f"answers at {settings.rest_url}"))
        findings.append(_clock(settings, now))
        probes: Mapping[str, Callable[[], object]] = {
            "option chain snapshots": lambda: next(iter(rest.option_chain_pages("AAPL"))),
            "index snapshots": lambda: next(iter(rest.index_snapshot_pages(["I:SPX"]))),
        }
        for what, probe in probes.items():
            findings.append(_plan(what, probe, settings))
        findings.append(_flat_files(settings, now))
    return findings


def _clock(settings: Settings, now: datetime) -> Finding:
    if settings.uses_simulated_clock:
        return Finding("clock", True, f"simulated, {now:%F %T} UTC")
    apart = abs(datetime.now(UTC) - now)
    detail = f"this machine's; {apart.total_seconds():.0f} s from the vendor's"
    return Finding("clock", apart <= CLOCK_TOLERANCE, detail)


def _plan(what: str, probe: Callable[[], object], settings: Settings) -> Finding:
    try:
        probe()
    except NotEntitledError:
        return Finding(what, None, "the plan does not include them")
    except SourceError as error:
        return Finding(what, False, _advice(error, settings))
    return Finding(what, True, "the plan includes them")


def _flat_files(settings: Settings, now: datetime) -> Finding:
    key_id, secret = settings.massive_key_id, settings.massive_secret_key
    if settings.is_simulated:
        key_id = secret = _SIMULATED
    if key_id is None or secret is None:
        return Finding("flat files", None, "off: set MASSIVE_KEY_ID and MASSIVE_SECRET_KEY")
    day = last_published_session(now)
    client = FlatFiles(
        settings.s3_url,
        key_id,
        secret,
        bucket=settings.massive_s3_bucket,
        retry=_ONCE,
        timeout=_PATIENCE,
    )
    try:
        found = client.list(Dataset.STOCK_DAY, day, day)
    except SourceError as error:
        return Finding("flat files", False, _advice(error, settings))
    if not found:
        return Finding("flat files", False, f"listed, but the file of {day} is not there yet")
    return Finding("flat files", True, f"listed; the latest is of {day}")


def _advice(error: SourceError, settings: Settings) -> str:
    if isinstance(error, UnauthorizedError):
        return f"{error}: check the key"
    if isinstance(error, RateLimitedError):
        return f"{error}: set MASSIVE_REQUESTS_PER_MINUTE to what the plan allows"
    if settings.is_simulated and error.status is None:
        return NOT_RUNNING
    return str(error)


def hints(settings: Settings) -> list[str]:
    """What is off, and what to set to have it."""
    found = []
    if settings.is_simulated:
        found.append("MASSIVE_API_KEY is not set: everything runs on the simulated market.")
    elif settings.massive_key_id is None or settings.massive_secret_key is None:
        found.append(
            "MASSIVE_KEY_ID and MASSIVE_SECRET_KEY are not both set: no day files, so no history "
            "of stocks and options; minute bars and indices come over REST."
        )
    if not settings.is_simulated and settings.massive_requests_per_minute is None:
        found.append(
            "MASSIVE_REQUESTS_PER_MINUTE is not set: calls are not paced. Set 5 on the Basic plan."
        )
    if settings.earnings_csv is None and not settings.is_simulated:
        found.append(
            "TRACKER_EARNINGS_CSV is not set: earnings dates need the vendor's add-on, else they "
            "are unknown and the gate on them is not evaluated."
        )
    if settings.earnings_csv is not None and not settings.earnings_csv.is_file():
        found.append(f"TRACKER_EARNINGS_CSV names {settings.earnings_csv}, which is not a file.")
    if settings.vix_futures_csv is not None and not settings.vix_futures_csv.is_file():
        found.append(
            f"TRACKER_VIX_FUTURES_CSV names {settings.vix_futures_csv}, which is not a file."
        )
    with suppress(KeyError):
        if not os.path.isabs(os.environ["DAGSTER_HOME"]):
            found.append("DAGSTER_HOME is not an absolute path: Dagster refuses it.")
    return found

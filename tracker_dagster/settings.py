"""Every knob and every secret, typed, from the environment or an untracked ``.env``.

Read only by ``definitions``, ``resources``, ``cli`` and ``app``; all other code is handed values.
"""

from __future__ import annotations

import os
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tracker_dagster.sources.messages import is_loopback

_CHECKOUT = Path(__file__).resolve().parent.parent

MASSIVE_REST_URL = "https://api.massive.com"
MASSIVE_S3_URL = "https://files.massive.com"


def home() -> Path:
    """The folder that holds ``data/`` and ``.env``.

    ``TRACKER_HOME`` when set, else the checkout that the code runs from, else the current folder.
    """
    if configured := os.environ.get("TRACKER_HOME"):
        return Path(configured).expanduser().resolve()
    return _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()


class ClockKind(StrEnum):
    """Where ``now`` comes from."""

    AUTO = "auto"
    SYSTEM = "system"
    SIMULATED = "simulated"


class Settings(BaseSettings):
    """The whole configuration. Field descriptions are what ``tracker env-check`` prints."""

    model_config = SettingsConfigDict(
        env_prefix="TRACKER_",
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        # A value that fails validation may be a key.
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(
        default_factory=lambda: home() / "data", description="folder for everything that runs leave"
    )
    db_path: Path | None = Field(
        default=None, description="DuckDB file; DATA_DIR/tracker.duckdb when not set"
    )
    sim_url: str = Field(
        default="http://127.0.0.1:8765", description="address of the simulated market"
    )
    sim_seed: int = Field(default=9300, description="seed of the simulated market")
    sim_instability: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of ticker-weeks with planted instability in the simulated market",
    )
    clock: ClockKind = Field(
        default=ClockKind.AUTO,
        description="where now comes from: auto (the simulated market's time), system or simulated",
    )

    massive_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MASSIVE_API_KEY", "massive_api_key"),
        description="Massive REST key; without one the simulated market is used",
    )
    massive_key_id: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MASSIVE_KEY_ID", "massive_key_id"),
        description="access key id of Massive's flat files (S3)",
    )
    massive_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MASSIVE_SECRET_KEY", "massive_secret_key"),
        description="secret key of Massive's flat files (S3)",
    )
    massive_rest_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("MASSIVE_REST_URL", "massive_rest_url"),
        description="Massive REST address",
    )
    massive_s3_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("MASSIVE_S3_URL", "massive_s3_url"),
        description="Massive flat-file (S3) address",
    )
    massive_s3_bucket: str = Field(
        default="flatfiles",
        validation_alias=AliasChoices("MASSIVE_S3_BUCKET", "massive_s3_bucket"),
        description="bucket of the flat files",
    )
    massive_requests_per_minute: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        validation_alias=AliasChoices("MASSIVE_REQUESTS_PER_MINUTE", "massive_requests_per_minute"),
        description="REST calls a minute (5 on Massive's Basic plan); unlimited when not set",
    )
    massive_delay_minutes: Annotated[int, Field(ge=0)] = Field(
        default=15,
        validation_alias=AliasChoices("MASSIVE_DELAY_MINUTES", "massive_delay_minutes"),
        description="delay of the plan's REST data; a bar counts as known this long after its end",
    )
    earnings_csv: Path | None = Field(
        default=None,
        description="CSV of earnings dates (ticker,report_date,report_time,status,announced_at)",
    )
    vix_futures_csv: Path | None = Field(
        default=None,
        description="CSV of settlements of VIX futures (trade_date,vx1,vx2,vx3)",
    )

    seed: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=9300.0, description="cash to promote picks with, US dollars"
    )
    lane: str = Field(
        default="SAFE_HIGH", description="lane that promotions take picks from; ALL for any"
    )
    top_n: Annotated[int, Field(gt=0)] = Field(default=3, description="promotions per session")
    compare_top_n: Annotated[int, Field(gt=0)] = Field(
        default=10, description="picks per model in the comparison"
    )
    holdings_strike_floor: bool = Field(
        default=False,
        description="write calls on shares held at their average basis or above only",
    )
    compare_penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.2,
        description="what the weighted model takes off a rank score for each unstable gate",
    )
    benchmarks: tuple[str, ...] = Field(
        default=("SPY",), description="tickers that are always fetched beside the universe"
    )
    history_sessions: Annotated[int, Field(ge=6)] = Field(
        default=30, description="sessions of day files that `tracker daily` makes sure are there"
    )
    refresh_run_days: Annotated[int, Field(gt=0)] = Field(
        default=7, description="days that finished refresh runs are kept in Dagster's history"
    )

    vendor_greeks: bool = Field(
        default=False,
        description="also fetch the vendor's own end-of-day Greeks, to compare ours with them",
    )
    vendor_open_interest: bool = Field(
        default=False,
        description="also fetch the vendor's history of open interest, to compare captures with it",
    )

    @field_validator("lane")
    @classmethod
    def _is_lane(cls, value: str) -> str:
        # The names lie with the tables, whose import takes a second: only for who sets one.
        from tracker_dagster.schemas.decisions import LANES

        known = (*LANES, "ALL")
        lane = value.strip().upper()
        if lane not in known:
            raise ValueError(f"unknown lane {value!r}: one of {', '.join(known)}")
        return lane

    @field_validator("sim_url", "massive_rest_url", "massive_s3_url")
    @classmethod
    def _is_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"not an http(s) address: {value}")
        if parts.scheme == "http" and not is_loopback(value):
            raise ValueError(f"plain http would send keys in the clear to {parts.hostname}")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _clock_fits_market(self) -> Settings:
        if self.clock is ClockKind.SIMULATED and not is_loopback(self.rest_url):
            raise ValueError(
                "TRACKER_CLOCK=simulated with a vendor's address: stored times would be false"
            )
        return self

    @property
    def is_simulated(self) -> bool:
        """Whether the market is the simulated one: no Massive key is set."""
        return self.massive_api_key is None

    @property
    def uses_simulated_clock(self) -> bool:
        """Whether ``now`` is the market server's time rather than this machine's."""
        if self.clock is ClockKind.AUTO:
            return self.is_simulated
        return self.clock is ClockKind.SIMULATED

    @property
    def rest_url(self) -> str:
        """Address that REST requests go to."""
        return self.massive_rest_url or (self.sim_url if self.is_simulated else MASSIVE_REST_URL)

    @property
    def s3_url(self) -> str:
        """Address that flat files come from."""
        return self.massive_s3_url or (self.sim_url if self.is_simulated else MASSIVE_S3_URL)

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return self.db_path or self.data_dir / "tracker.duckdb"

    @property
    def raw_dir(self) -> Path:
        """Raw captures of live answers."""
        return self.data_dir / "raw"

    @property
    def reports_dir(self) -> Path:
        """Reports."""
        return self.data_dir / "reports"

    @property
    def run_dir(self) -> Path:
        """Locks, process ids and logs of background processes."""
        return self.data_dir / "run"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder."""
        return Path(os.environ.get("DAGSTER_HOME") or self.data_dir / "dagster")

    @property
    def delay(self) -> timedelta:
        """Delay of the plan's REST data; the simulated market's plan is real-time."""
        return timedelta(0) if self.is_simulated else timedelta(minutes=self.massive_delay_minutes)


def load_settings() -> Settings:
    """Settings from the environment and ``.env`` (the environment wins).

    Raises:
        pydantic.ValidationError: naming each wrong value, never a secret.
    """
    return Settings(_env_file=home() / ".env")  # type: ignore[call-arg]

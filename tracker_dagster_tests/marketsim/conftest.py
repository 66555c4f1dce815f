"""Shared simulated markets of the tests of the market simulator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from tracker_dagster.marketsim import MarketSim

#: 15:50 ET of Thursday 2026-11-19.
NOW = datetime(2026, 11, 19, 20, 50, tzinfo=UTC)


@pytest.fixture(scope="session")
def shared_sim() -> Iterator[MarketSim]:
    with MarketSim(now=NOW) as running:
        yield running


@pytest.fixture
def sim(shared_sim: MarketSim) -> Iterator[MarketSim]:
    """The shared market, its clock and faults put back after each test."""
    yield shared_sim
    shared_sim.clear_faults()
    shared_sim.set_clock(NOW, 0.0)


@pytest.fixture
def http(sim: MarketSim) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer some-key"
        yield session


def s3_client(url: str, key: str = "some-key") -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key="some-secret",
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@pytest.fixture
def s3(sim: MarketSim) -> Any:
    return s3_client(sim.url)

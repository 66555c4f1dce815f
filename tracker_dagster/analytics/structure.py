"""Serial structure of one-minute returns: spectral entropy and fractal roughness, each tested.

A return series without structure has independent signs. Every ticker's two estimates are
compared with those of its own returns with the signs drawn at random: the sizes keep their
order, so the shape of the day and clusters of volatility stay in the null and only serial
structure is taken out. What the null does not hold for is not tested: prices on ticks so coarse
that rounding alone makes neighbouring returns alternate.

The bounce of trades between bid and ask is not in the null: with a half-spread of h times the
deviation of a minute's return, neighbouring returns correlate by -h^2 / (1 + 2 h^2) (Roll 1984),
which is structure, and is called so. Of 200 series of five sessions each, 5 % are unstable at
h = 0.1, 3 % at 0.2, 14 % at 0.25, 26 % at 0.3 and 76 % at 0.4. Rule of thumb: up to a fifth the
spread does not matter; from a quarter on, "unstable" may be no more than a wide spread.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES

INSUFFICIENT = "insufficient_history"


@dataclass(frozen=True, slots=True)
class StructureSettings:
    """Knobs of the structure gates.

    Attributes:
        intraday_bars: below this many bars nothing is estimated.
        daily_bars: one session's worth.
        weekly_bars: five full sessions' worth, and the most that are looked at.
        alpha: false alarm rate of a ticker-day over both gates together.
        surrogates: sign-flipped series per ticker; with 239 each gate's share of alpha is
            exactly 6 of 240 ranks.
        segment: returns per Welch segment; segments never cross a session's end.
        lags: lags in bars of the madogram.
        most_rounding: most correlation that rounding to the tick may give to neighbouring returns,
            in standard errors of a correlation; above it the series is too coarse to be tested.
    """

    intraday_bars: int = 120
    daily_bars: int = 390
    weekly_bars: int = 1950
    alpha: float = 0.05
    surrogates: int = 239
    segment: int = 32
    lags: tuple[int, ...] = (1, 2, 4, 8, 16)
    most_rounding: float = 1.0


def bar_sessions(decision_at: datetime) -> list[date]:
    """The sessions that `structure_features` reads: the current one and five before it.

    Six, because ten minutes before the close five sessions including the current one hold
    fewer than five sessions' worth of bars, and the top of the ladder would be out of reach. Of
    the sixth only the minutes count that the current one still has to come.
    """
    return trading_calendar.last_sessions(trading_calendar.trading_date(decision_at), 6)


def history_status(bars: int, settings: StructureSettings) -> str:
    """Rung of the ladder of 120, 390 and 1950 bars."""
    if bars >= settings.weekly_bars:
        return "weekly_stable"
    if bars >= settings.daily_bars:
        return "daily_stable"
    return "intraday_ok" if bars >= settings.intraday_bars else INSUFFICIENT


def hann(length: int) -> np.ndarray:
    """The periodic Hann window."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


def spectral_entropy(segments: np.ndarray) -> np.ndarray:
    """Normalised entropy of the Welch spectrum.

    Args:
        segments: ``(..., segments, length)`` returns, one Hann-windowed periodogram each.

    Returns:
        ``(...)``: minus the sum of p log p over the frequencies above zero, over its largest
        value; 1 is a flat spectrum (Welch 1967; Inouye et al. 1991 for the normalisation).
    """
    length = segments.shape[-1]
    centred = segments - segments.mean(axis=-1, keepdims=True)
    spectrum = np.fft.rfft(centred * hann(length), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=-2)[..., 1:]
    if length % 2 == 0:
        power[..., :-1] *= 2
    share = power / power.sum(axis=-1, keepdims=True)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logs).sum(axis=-1) / np.log(share.shape[-1])


def fractal_roughness(sessions: Sequence[np.ndarray], lags: Sequence[int]) -> np.ndarray:
    """Fractal dimension of price paths by the madogram.

    Args:
        sessions: one array ``(..., returns)`` a session; paths start anew in each.
        lags: lags in bars.

    Returns:
        ``(...)``: 2 - H, where H is the slope of log mean absolute increment on log lag
        (variation estimator of order 1; Gneiting, Sevcikova and Percival 2012). 1.5 for a
        random walk, more for a path that turns back, less for one that trends.
    """
    paths = [
        np.concatenate([np.zeros((*part.shape[:-1], 1)), np.cumsum(part, axis=-1)], axis=-1)
        for part in sessions
    ]
    logs = []
    for lag in lags:
        total = sum(
            np.abs(path[..., lag:] - path[..., :-lag]).sum(axis=-1)
            for path in paths
            if path.shape[-1] > lag
        )
        number = sum(max(0, path.shape[-1] - lag) for path in paths)
        logs.append(np.log(total / number))
    x = np.log(np.asarray(lags, dtype=float))
    x -= x.mean()
    slope = np.tensordot(np.stack(logs, axis=-1), x, axes=([-1], [0])) / (x @ x)
    return 2.0 - slope


def two_sided_p(observed: float, null: np.ndarray) -> float:
    """Two-sided p-value of a rank test: exact under the null, never zero."""
    below = np.count_nonzero(null <= observed)
    above = np.count_nonzero(null >= observed)
    return float(min(1.0, 2 * (1 + min(below, above)) / (len(null) + 1)))


def rounding_correlation(closes: Sequence[np.ndarray]) -> float:
    """Size of the correlation that rounding to the tick gives to neighbouring price changes.

    A price that is rounded to a tick carries an error of variance tick^2 / 12, which enters two
    neighbouring changes with opposite signs: their correlation is minus that over the variance of
    the changes (Harris 1990 for the effect of discreteness). The tick is a cent, below a dollar a
    hundredth of one (Regulation NMS, rule 612).

    Args:
        closes: one array of prices a session, in dollars.

    Returns:
        At least 0; infinite where no price changes.
    """
    changes = [np.diff(part) for part in closes]
    total = sum(float(part @ part) for part in changes)
    number = sum(len(part) for part in changes)
    ticks = np.where(np.concatenate([np.asarray(c) for c in closes]) >= 1.0, 0.01, 0.0001)
    return float((ticks**2).mean()) / 12 * number / total if total > 0 else float("inf")


def surrogate_seed(ticker: str, day: date) -> int:
    """A seed that depends on the ticker and the day alone, the same in every process."""
    digest = hashlib.blake2b(f"{ticker}|{day.isoformat()}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def structure_features(
    bars: pl.DataFrame,
    tickers: Sequence[str],
    decision_at: datetime,
    settings: StructureSettings | None = None,
) -> pl.DataFrame:
    """Rows of structure_features for ``tickers`` as of ``decision_at``.

    Args:
        bars: bars_1m of the sessions of `bar_sessions` (``trade_date``, ``ticker``, ``start``,
            ``is_regular``, ``close``, and ``available_at`` where there is one), any order.
            Bars that had not ended, or were not available, at ``decision_at`` are ignored.
        tickers: one row is returned for each, bars or not.
        decision_at: when the features are computed; becomes ``available_at``.
        settings: knobs; defaults when None.
    """
    settings = settings or StructureSettings()
    day = trading_calendar.session_or_previous(trading_calendar.trading_date(decision_at))
    known = (pl.col("start") <= decision_at - timedelta(minutes=1)) & pl.col("is_regular")
    if "available_at" in bars.columns:
        known &= pl.col("available_at") <= decision_at
    wanted = sorted(set(tickers))
    rows_known = bars.filter(
        known
        & pl.col("ticker").is_in(wanted)
        & pl.col("trade_date").is_in(bar_sessions(decision_at))
    ).sort("ticker", "start")
    rows_known = _five_sessions(rows_known, bar_sessions(decision_at))
    by_ticker = _closes_by_session(rows_known, settings.weekly_bars)

    def row(ticker: str) -> dict[str, object]:
        seed = surrogate_seed(ticker, day)
        features = _features(by_ticker.get(ticker, []), seed, settings)
        return {"trade_date": day, "ticker": ticker, "available_at": decision_at, **features}

    # The kernel releases the interpreter, so plain threads share the tickers out.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        rows = list(pool.map(row, wanted))
    return (
        STRUCTURE_FEATURES.conform(pl.DataFrame(rows, infer_schema_length=None))
        if rows
        else (STRUCTURE_FEATURES.empty())
    )


def _five_sessions(bars: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """Of each ticker's bars those of five sessions' time, which end with its last bar.

    They are its last session with a bar and the four before it, and of the one before those the
    minutes that are nearer to the close than the last bar is.
    """
    sessions = pl.DataFrame(
        {
            "trade_date": days,
            "session": range(len(days)),
            "close_of_session": [trading_calendar.session_on(day).close for day in days],
        },
        schema_overrides={"close_of_session": bars.schema["start"]},
    )
    placed = bars.join(sessions, on="trade_date", how="left", maintain_order="left").with_columns(
        to_close=pl.col("close_of_session") - pl.col("start")
    )
    last_session = pl.col("session").last().over("ticker")
    sixth = last_session - 5
    counts = (pl.col("session") > sixth) | (
        (pl.col("session") == sixth)
        & (pl.col("to_close") < pl.col("to_close").last().over("ticker"))
    )
    return placed.filter(counts).select(bars.columns)


def _closes_by_session(bars: pl.DataFrame, most: int) -> dict[str, list[np.ndarray]]:
    """Each ticker's last ``most`` closes, one array a session; ``bars`` by ticker and start."""
    closes = bars["close"].to_numpy()
    days = bars["trade_date"].to_physical().to_numpy()
    found = {}
    last = 0
    for ticker, count in bars.group_by("ticker", maintain_order=True).len().iter_rows():
        last += count
        first = last - min(count, most)
        ends = np.flatnonzero(np.diff(days[first:last])) + 1
        found[ticker] = np.split(closes[first:last], ends)
    return found


def _features(
    closes: Sequence[np.ndarray], seed: int, settings: StructureSettings
) -> dict[str, object]:
    count = sum(len(part) for part in closes)
    row: dict[str, object] = {
        "bars_1m_count": count,
        "history_status": history_status(count, settings),
        "fft_status": INSUFFICIENT,
        "fractal_status": INSUFFICIENT,
        "alpha": settings.alpha,
    }
    if count < settings.intraday_bars:
        return {**row, "reason": f"{count} bars, {settings.intraday_bars} needed"}
    returns = [np.diff(np.log(part)) for part in closes]
    returns = [part for part in returns if len(part) >= max(settings.segment, *settings.lags)]
    number = sum(len(part) for part in returns)
    row["returns_count"] = number
    if not number or not any(np.any(part) for part in returns):
        return {**row, "reason": "prices do not move, or no session is long enough"}
    coarse = rounding_correlation(closes)
    if coarse * number**0.5 > settings.most_rounding:
        why = f"rounding to the tick alone correlates neighbouring returns by {-coarse:.2f}"
        return {**row, "reason": f"prices move by too few ticks a minute to be tested: {why}"}
    test = surrogate_test(returns, seed, settings)
    limit = settings.alpha / 2
    return {
        **row,
        **test,
        "surrogates": settings.surrogates,
        "fft_status": "unstable" if test["fft_p_value"] <= limit + 1e-12 else "stable",
        "fractal_status": "unstable" if test["fractal_p_value"] <= limit + 1e-12 else "stable",
    }


def surrogate_test(
    sessions: Sequence[np.ndarray],
    seed: int,
    settings: StructureSettings,
    backend: Literal["numba", "numpy"] = "numba",
) -> dict[str, float]:
    """Both estimates of a series of sessions' returns and their p-values.

    Args:
        sessions: one array of returns a session.
        seed: of the signs.
        settings: knobs.
        backend: compiled, or the slow twin that tests compare it with.
    """
    ends = np.concatenate([[0], np.cumsum([len(part) for part in sessions])])
    # Row 0 is the series itself, the others are its surrogates.
    signs = _random_signs(seed, settings.surrogates + 1, int(ends[-1]))
    signs[0] = 1
    run = _compiled if backend == "numba" else _in_numpy
    entropy, roughness = run(np.concatenate(sessions), signs, ends, settings)
    return {
        "spectral_entropy": float(entropy[0]),
        "fractal_roughness": float(roughness[0]),
        "fft_p_value": two_sided_p(entropy[0], entropy[1:]),
        "fractal_p_value": two_sided_p(roughness[0], roughness[1:]),
    }


def _random_signs(seed: int, rows: int, columns: int) -> np.ndarray:
    width = -(-columns // 8)
    drawn = np.frombuffer(np.random.default_rng(seed).bytes(rows * width), dtype=np.uint8)
    bits = np.unpackbits(drawn.reshape(rows, width), axis=1)[:, :columns]
    return bits.astype(np.int8) * np.int8(2) - np.int8(1)


def _compiled(
    returns: np.ndarray, signs: np.ndarray, ends: np.ndarray, settings: StructureSettings
) -> tuple[np.ndarray, np.ndarray]:
    from tracker_dagster.analytics.structure_kernels import flipped_estimates, half_transforms

    even, odd = half_transforms(settings.segment)
    found: tuple[np.ndarray, np.ndarray] = flipped_estimates(
        returns, signs, ends, hann(settings.segment), even, odd, np.array(settings.lags)
    )
    return found


def _in_numpy(
    returns: np.ndarray, signs: np.ndarray, ends: np.ndarray, settings: StructureSettings
) -> tuple[np.ndarray, np.ndarray]:
    stacks = [returns[first:last] * signs[:, first:last] for first, last in pairwise(ends)]
    cut = np.concatenate([_cut(stack, settings.segment) for stack in stacks], axis=1)
    return spectral_entropy(cut), fractal_roughness(stacks, settings.lags)


def _cut(stack: np.ndarray, segment: int) -> np.ndarray:
    """Half-overlapping segments of each row: ``(rows, segments, segment)``."""
    views = np.lib.stride_tricks.sliding_window_view(stack, segment, axis=-1)
    return views[:, :: segment // 2, :]

"""Stop-watches: interleaved best-of, fresh processes, peak memory of a child."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best_of(works: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """The best time of each of ``works``, after one call to warm up.

    They take turns, so that a busy minute of the machine spoils a round of each, not all of one.
    """
    for work in works:
        work()
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def run_python(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a fresh Python process prints.

    Raises:
        RuntimeError: it fails; with the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=None if environment is None else dict(environment),
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(arguments)[:80]} failed:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return done.stdout


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB.

    Linux counts what the parent held before ``exec`` into ``ru_maxrss``, so its own book is asked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024**2)

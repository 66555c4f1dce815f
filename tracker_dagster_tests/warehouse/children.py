"""Processes for tests to hold, kill and race: each runs a few lines of Python and says so."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

PREAMBLE = """
import os, sys, time
from datetime import date, datetime, timedelta
from pathlib import Path
path = Path(sys.argv[1])

def say(word):
    print(word, flush=True)
"""


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process running ``code``; it is killed at the end if it still lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def hears(process: subprocess.Popen[str], word: str) -> None:
    """Wait until the child says ``word``."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line != word:
        _, errors = process.communicate()
        raise AssertionError(f"expected {word!r}, heard {line!r}\n{errors}")


def finished(process: subprocess.Popen[str]) -> str:
    """What the child said until it ended well."""
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return said

"""Counter-based random numbers: the same draw for a key in any process and in any order.

Two families. ``generator`` (Philox) serves sequences that belong to one ticker and day;
``uniforms``/``normals`` (SplitMix64 finaliser over a key array) serve single draws that belong
to one contract, so that a draw never depends on which other contracts are listed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def stable_hash(*parts: object) -> int:
    """A 64-bit hash of the parts' text, independent of the process (unlike ``hash``)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(seed: int, *key: object, index: int = 0) -> np.random.Generator:
    """The Philox generator of ``key``; ``index`` (a day number) selects a disjoint stream."""
    words = np.array([stable_hash(seed, *key), stable_hash("second", seed, *key)], dtype=np.uint64)
    counter = np.array([0, 0, index, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=words, counter=counter))


def mix(keys: Any) -> Keys:
    """The SplitMix64 finaliser over an array of 64-bit keys (Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        z = np.atleast_1d(np.asarray(keys, dtype=np.uint64)) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return z ^ (z >> np.uint64(31))


def salted(keys: Keys, *salts: object) -> Keys:
    """``keys`` bound to a purpose (and a day), ready for further draws."""
    return mix(keys ^ np.uint64(stable_hash(*salts)))


def uniforms(keys: Keys, *salts: object) -> Floats:
    """One uniform in (0, 1) per key, for the purpose named by ``salts``."""
    return ((salted(keys, *salts) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normals(keys: Keys, *salts: object) -> Floats:
    """One standard normal per key, for the purpose named by ``salts``."""
    return np.asarray(ndtri(uniforms(keys, *salts)), dtype=np.float64)


def autoregress(shocks: Floats, persistence: float) -> Floats:
    """The AR(1) path x[t] = persistence * x[t-1] + shocks[t], x[-1] = 0.

    A doubling scan: log2(n) vector passes instead of a Python loop or a scipy.signal import,
    which alone would cost half of the allowed start-up time.
    """
    path = shocks.astype(np.float64, copy=True)
    shift, factor = 1, persistence
    while shift < path.size:
        path[shift:] = path[shift:] + factor * path[:-shift]
        shift, factor = shift * 2, factor * factor
    return path

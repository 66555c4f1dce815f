"""Where the tracked seed files lie: in an installed package, or in a checkout's ``data/seed``."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "seed"
_CHECKOUT = Path(__file__).parent.parent / "data" / "seed"


def seed_file(name: str) -> Path:
    """Path of the seed file ``name``.

    Raises:
        FileNotFoundError: neither the package nor the checkout holds it.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (path := folder / name).is_file():
            return path
    raise FileNotFoundError(f"seed file {name} is neither in {_PACKAGED} nor in {_CHECKOUT}")

"""Writes docs/pictures of a smile, a term structure and a gamma profile, as the pipeline drew them.

Reads them from the metadata of the latest materialisations of a home that has run `tracker demo`.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
from pathlib import Path

import dagster as dg

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
#: Asset and metadata that hold each picture.
DRAWN = {
    "smile": ("iv_surface", "smile"),
    "term_structure": ("iv_term_structure", "term_structure"),
    "gamma_profile": ("gamma_exposure", "gamma_profile"),
}
_PNG = re.compile(r"\(data:image/png;base64,([A-Za-z0-9+/=]+)\)")


class ChartError(RuntimeError):
    """A picture is not there; the message says which."""


def png_of(instance: dg.DagsterInstance, asset: str, name: str) -> bytes:
    """The picture in the metadata ``name`` of the asset's latest materialisation.

    Raises:
        ChartError: there is none.
    """
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    materialisation = event.asset_materialization if event else None
    value = materialisation.metadata.get(name) if materialisation else None
    found = _PNG.search(str(value.value)) if value else None
    if found is None:
        raise ChartError(f"the latest materialisation of {asset} has no picture {name!r}")
    return base64.b64decode(found[1])


def write_charts(dagster_home: Path, folder: Path = PICTURES) -> list[Path]:
    """Write every picture; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        for file, (asset, name) in DRAWN.items():
            path = folder / f"{file}.png"
            path.write_bytes(png_of(instance, asset, name))
            paths.append(path)
    return paths


def main() -> int:
    """Write the pictures of ``--home``; 1 when one is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a home that has run a demo")
    options = parser.parse_args()
    try:
        for path in write_charts(options.home / "data" / "dagster"):
            print(f"{path}: {path.stat().st_size} bytes")
    except ChartError as error:
        print(f"charts: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

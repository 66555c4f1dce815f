"""Copies the reports of a session into docs/examples: pages, markdown, and the pictures beside it.

Pictures are taken out of the pages, so that readers of the markdown see them too.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tracker_dagster.reports.page import with_pictures
from tracker_dagster.reports.svg import Chart

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
NAMES = ("summary", "monday", "scorecard")

_SECTION = re.compile(r'<h2 id="[^"]*">(?:\d+\. )?(.*?)</h2>', re.DOTALL)
_FIGURE = re.compile(
    r'<figure id="chart-([^"]+)">\s*(<svg role="img" aria-label="([^"]*)".*?</svg>)\s*</figure>',
    re.DOTALL,
)


class ExampleError(RuntimeError):
    """A report is not there; the message says which."""


def charts_of(page: str) -> dict[str, list[Chart]]:
    """The pictures of a page, by the title of their section."""
    from html import unescape

    found: dict[str, list[Chart]] = {}
    sections = list(_SECTION.finditer(page))
    ends = [*(section.start() for section in sections[1:]), len(page)]
    for section, end in zip(sections, ends, strict=True):
        charts = [
            Chart(name, unescape(title), svg)
            for name, svg, title in _FIGURE.findall(page[section.end() : end])
        ]
        if charts:
            found[unescape(section.group(1))] = charts
    return found


def copy_reports(reports: Path, folder: Path = EXAMPLES) -> list[Path]:
    """Copy every report of ``reports`` (a session's folder, or that of the latest).

    Raises:
        ExampleError: one is missing.
    """
    written = []
    for name in NAMES:
        try:
            page, markdown = (
                (reports / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "md")
            )
        except FileNotFoundError as error:
            raise ExampleError(f"there is no {error.filename}") from None
        charts = charts_of(page)
        pictures = {
            folder / "charts" / f"{chart.name}.svg": chart.svg + "\n"
            for mine in charts.values()
            for chart in mine
        }
        texts = {
            folder / f"{name}.html": page,
            folder / f"{name}.md": with_pictures(markdown, charts),
            **pictures,
        }
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def main() -> int:
    """Copy the reports of ``--reports``; 1 when one is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=Path, required=True, help="data/reports or one session's")
    options = parser.parse_args()
    try:
        for path in copy_reports(options.reports):
            print(f"{path.relative_to(EXAMPLES.parents[1])}: {path.stat().st_size} bytes")
    except ExampleError as error:
        print(f"examples: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

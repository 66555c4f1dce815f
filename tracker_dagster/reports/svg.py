"""Pictures as SVG that stands inside a page: no prolog, no metadata, names of its own."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMED = re.compile(r'(\bid="|url\(#|href="#)')


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture of a report.

    Attributes:
        name: short, unique in its page; letters, digits and hyphens.
        title: what it shows, in words.
        svg: the picture, an ``<svg>`` element.
    """

    name: str
    title: str
    svg: str


def drawn(figure: Figure, name: str, title: str) -> Chart:
    """The figure as a chart; the same figure gives the same text.

    Text stays text, so that it can be searched and read aloud, in whatever sans-serif the reader
    has. Two charts of one page share no identifier.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    ):
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = _NAMED.sub(rf"\g<1>{name}-", text)
    label = escape(title, quote=True)
    return Chart(name, title, text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))

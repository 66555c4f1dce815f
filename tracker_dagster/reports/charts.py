"""Small pictures as markdown images: drawn without a display, embedded as data URIs.

matplotlib is imported when the first picture is drawn, since it is slow to load.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (7.0, 3.0)
_DPI = 120
INK = "#1f5a7a"


def canvas(title: str) -> tuple[Figure, Axes]:
    """An empty picture with its title, in the size and style that all have."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def markdown_image(png: bytes, title: str) -> str:
    """A PNG as a markdown image that needs no file beside it."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def image(figure: Figure, title: str) -> str:
    """The figure as a markdown image."""
    return markdown_image(png_bytes(figure), title)


def bar_chart(frame: pl.DataFrame, category: str, value: str, title: str) -> str:
    """One bar a row, in the order of the rows, as a markdown image."""
    figure, axes = canvas(title)
    known = frame.drop_nulls(value)
    axes.bar(known[category].cast(pl.String).to_list(), known[value].to_numpy(), color=INK)
    axes.tick_params(axis="x", rotation=60)
    axes.set_ylabel(value.replace("_", " "), fontsize=8)
    return image(say_if_empty(figure, axes, known), title)


def line_chart(
    frame: pl.DataFrame,
    across: str,
    value: str,
    title: str,
    *,
    band: tuple[float, float] | None = None,
    level: float | None = None,
) -> str:
    """A line through the rows, in their order, as a markdown image; it is broken at nulls.

    Args:
        frame: the rows.
        across: column of the horizontal axis: dates or numbers.
        value: column that is drawn.
        title: above the picture.
        band: heights between which the ground is shaded.
        level: height of a dashed line.
    """
    figure, axes = canvas(title)
    known = frame.drop_nulls(value)
    if known.height:
        values = frame[value].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if band is not None:
            axes.axhspan(*band, color=INK, alpha=0.12, linewidth=0)
        if level is not None:
            axes.axhline(level, color=INK, linewidth=0.8, linestyle="--")
        axes.plot(frame[across].to_numpy(), values, color=INK, linewidth=1.2)
        axes.plot(known[across].to_numpy()[-1:], known[value].to_numpy()[-1:], "o", color=INK)
    axes.set_ylabel(value.replace("_", " "), fontsize=8)
    return image(say_if_empty(figure, axes, known), title)


def histogram(frame: pl.DataFrame, value: str, title: str, *, log_x: bool = False) -> str:
    """Distribution of a column, as a markdown image.

    With ``log_x`` the bins are equal in the logarithm and values not above zero are left out.
    """
    figure, axes = canvas(title)
    known = frame.drop_nulls(value)
    if log_x:
        known = known.filter(pl.col(value) > 0)
    values = known[value].cast(pl.Float64).to_numpy()
    if len(values):
        bins: Any = 40
        if log_x and values.min() < values.max():
            bins = np.geomspace(values.min(), values.max(), 41)
            axes.set_xscale("log")
        axes.hist(values, bins=bins, color=INK)
    axes.set_xlabel(value.replace("_", " "), fontsize=8)
    return image(say_if_empty(figure, axes, known), title)


def say_if_empty(figure: Figure, axes: Axes, frame: pl.DataFrame) -> Figure:
    """The figure, or one that says so where ``frame`` gave nothing to draw."""
    if frame.is_empty():
        axes.text(0.5, 0.5, "no rows", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
    return figure

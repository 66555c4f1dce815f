"""A report as one HTML file that needs no other: text from its markdown, pictures inline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from tracker_dagster.reports.svg import Chart

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --ground: #ffffff; --line: #d5dbe1;
  --head: #eef2f5; --mark: #1f5a7a; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe6ec; --ground: #14191f; --line: #36414c;
  --head: #1f2730; --mark: #7fb8d6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 92rem; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.6rem; }
h2 { margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 2px solid var(--line);
  font-size: 1.2rem; }
h3 { margin: 1.4rem 0 .4rem; font-size: 1rem; color: var(--mark); }
nav { margin: .5rem 0 1rem; font-size: .85rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: var(--mark); }
code { font-size: .9em; }
.rows { overflow-x: auto; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { background: var(--head); vertical-align: bottom; }
tbody tr:hover { background: var(--head); }
td { white-space: nowrap; }
td.words { white-space: normal; min-width: 18rem; max-width: 36rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; margin: .8rem 0; }
figure { flex: 1 1 26rem; max-width: 44rem; margin: 0; padding: .4rem; background: #ffffff;
  border: 1px solid var(--line); border-radius: .3rem; }
figure svg { display: block; width: 100%; height: auto; }
@media print { nav { display: none; } body { max-width: none; } }
"""

#: A cell with more characters than this may break its line.
_WORDS = 40
_HEAD_CELL = re.compile(r"(?<=>)[^<]*(?=</th>)")
_HEADING = re.compile(r"^(\d+)\. (.*)$")


def html_page(markdown: str, charts: Mapping[str, Sequence[Chart]] | None = None) -> str:
    """The report as a page: nothing in it is fetched from anywhere, and nothing in it runs.

    Args:
        markdown: the report; HTML in it is shown as text.
        charts: pictures by the title of the section (a second-level heading, without its number)
            that they are put at the top of.
    """
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    def html(content: str) -> Token:
        return Token("html_block", "", 0, content=content)

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens: list[Token] = []
    links: list[tuple[str, str]] = []
    title = "Report"
    for token in parser.parse(markdown):
        opened = tokens[-1] if tokens else None
        if token.type == "table_open":
            tokens.append(html('<div class="rows">\n'))
        tokens.append(token)
        if token.type == "table_close":
            tokens.append(html("</div>\n"))
        if token.type == "heading_close" and token.tag == "h2":
            pictures = (charts or {}).get(_without_number(links[-1][1]), ())
            if pictures:
                tokens.append(html(_figures(pictures)))
        if token.type != "inline" or opened is None:
            continue
        if opened.tag == "h1":
            title = token.content
        elif opened.tag == "h2":
            links.append((f"section-{len(links) + 1}", token.content))
            opened.attrSet("id", links[-1][0])
        elif opened.tag == "td" and len(token.content) > _WORDS:
            opened.attrJoin("class", "words")
    body = _HEAD_CELL.sub(_breakable, parser.renderer.render(tokens, parser.options, {}))
    nav = "".join(f'<a href="#{name}">{escape(text)}</a> ' for name, text in links)
    return _PAGE.format(
        title=escape(title), style=_STYLE, body=_with_nav(body, f"<nav>{nav}</nav>\n")
    )


#: The policy forbids a reader's browser to fetch or run anything.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}</body>
</html>
"""


def _breakable(cell: re.Match[str]) -> str:
    """A column's name that may be broken after its underscores, so that tables stay narrow."""
    return cell.group().replace("_", "_<wbr>")


def _without_number(heading: str) -> str:
    found = _HEADING.match(heading)
    return found.group(2) if found else heading


def _figures(charts: Sequence[Chart]) -> str:
    figures = "\n".join(
        f'<figure id="chart-{chart.name}">\n{chart.svg}\n</figure>' for chart in charts
    )
    return f'<div class="charts">\n{figures}\n</div>\n'


def _with_nav(body: str, nav: str) -> str:
    """The links to the sections, below the first heading."""
    end = body.find("</h1>\n")
    at = end + len("</h1>\n") if end >= 0 else 0
    return body[:at] + nav + body[at:]


def with_pictures(
    markdown: str, charts: Mapping[str, Sequence[Chart]], folder: str = "charts"
) -> str:
    """The markdown with each section's pictures as links to ``folder``/NAME.svg below its heading.

    For readers of markdown that show pictures beside a file, and none within it.
    """
    lines = []
    for line in markdown.split("\n"):
        lines.append(line)
        if line.startswith("## "):
            for chart in charts.get(_without_number(line[3:]), ()):
                lines += ["", f"![{chart.title}]({folder}/{chart.name}.svg)"]
    return "\n".join(lines)

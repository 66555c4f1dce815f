"""How Massive's answers are walked: envelopes, cursors, rows. No endpoint is named here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl
from pydantic import SecretStr

from tracker_dagster.sources.capture import RawPage
from tracker_dagster.sources.errors import CursorLoopError, MalformedResponseError
from tracker_dagster.sources.http import HttpSession, HttpStats, ParamValue
from tracker_dagster.sources.massive import parse
from tracker_dagster.sources.massive.records import Layout, ParsedRows, parse_records
from tracker_dagster.sources.messages import BearerAuth

Params = dict[str, ParamValue]

MAX_PAGES = 2_000
MAX_URL = 8_192


class PagedClient:
    """Client of one Massive account. Thread-safe; one instance paces all its callers.

    Args:
        base_url: ``https://api.massive.com`` or a simulated market.
        api_key: the REST key (not the flat files').
        requests_per_minute: the plan's limit; None on unlimited plans.
        max_pages: refuse to follow more pages than this for one question.
        http: a ready session, instead of one made from the remaining arguments.
        session_options: passed to `HttpSession` (timeout, retry, now, …).
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr,
        *,
        requests_per_minute: int | None = None,
        max_pages: int = MAX_PAGES,
        http: HttpSession | None = None,
        **session_options: Any,
    ) -> None:
        self.http = http or HttpSession(
            base_url,
            BearerAuth(api_key),
            requests_per_minute=requests_per_minute,
            **session_options,
        )
        self._max_pages = max_pages

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.http!r})"

    @property
    def stats(self) -> HttpStats:
        """Calls, retries and bytes spent so far."""
        return self.http.stats

    def close(self) -> None:
        """Close pooled connections."""
        self.http.close()

    def pages(self, path: str, params: Params | None = None) -> Iterator[RawPage]:
        """The pages of a list endpoint, first to last, each checked to be an envelope.

        ``next_url`` is followed verbatim; the key goes along only to our own host.

        Raises:
            CursorLoopError: a page points back to one already read, or there are more
                than ``max_pages``.
            MalformedResponseError: a page is not an envelope.
            SourceError: see `HttpSession.get`.
        """
        url = self.http.url(path, params)
        if len(url) > MAX_URL:
            raise ValueError(f"a URL of {len(url)} bytes; ask in smaller pieces")
        seen: set[str] = set()
        while url:
            if url in seen:
                raise CursorLoopError("next_url repeats", url_path=path)
            if len(seen) >= self._max_pages:
                raise CursorLoopError(f"more than {self._max_pages} pages", url_path=path)
            seen.add(url)
            response = self.http.get(url)
            body = response.body
            parsed = parse.envelope(body, url_path=response.url_path)
            parse.rows_of(parsed, url_path=response.url_path)
            request_id = response.request_id or parsed.get("request_id")
            yield RawPage(
                body,
                response.received_at,
                response.url_path,
                None if request_id is None else str(request_id),
            )
            following = parsed.get("next_url")
            url = following.strip() if isinstance(following, str) else ""

    def records(self, path: str, params: Params) -> Iterator[Any]:
        """The rows of all pages, undecoded beyond JSON; errors as `pages`."""
        for page in self.pages(path, params):
            yield from parse.page_results(page.body, url_path=page.url_path)

    def frame(self, records: Iterable[Any], layout: Layout, path: str) -> pl.DataFrame:
        """Rows as typed columns.

        Raises:
            MalformedResponseError: a row cannot be read.
        """
        return whole(parse_records(records, layout), path)

    def one(self, path: str, params: Params | None = None) -> dict[str, Any]:
        """The object of a single-object endpoint.

        Raises:
            MalformedResponseError: ``results`` is not an object.
        """
        response = self.http.get(path, params)
        results = parse.envelope(response.body, url_path=response.url_path).get("results")
        if not isinstance(results, dict):
            raise MalformedResponseError("results is not an object", url_path=response.url_path)
        return results


def whole(parsed: ParsedRows, path: str) -> pl.DataFrame:
    """The frame, when nothing was rejected."""
    if parsed.rejected.height:
        line, _, reason = parsed.rejected.row(0)
        raise MalformedResponseError(
            f"{parsed.rejected.height} unreadable rows; the first, row {line}: {reason}",
            url_path=path,
        )
    return parsed.frame

"""Massive's REST endpoints as typed frames and raw pages. Layouts are in ``parse``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal
from urllib.parse import quote

import polars as pl

from tracker_dagster.sources.capture import RawPage
from tracker_dagster.sources.errors import (
    MalformedResponseError,
    NotEntitledError,
    NotFoundError,
)
from tracker_dagster.sources.massive import parse
from tracker_dagster.sources.massive.paging import PagedClient, Params, whole
from tracker_dagster.sources.massive.records import Layout, instant

ContractType = Literal["call", "put"]
Timespan = Literal["second", "minute", "hour", "day", "week", "month", "quarter", "year"]

#: One below the documented maxima, which the vendor states in two ways (49,999 or 50,000).
AGGREGATE_PAGE = 49_999
NEW_FAMILY_PAGE = 4_999
REFERENCE_PAGE = 1_000
SNAPSHOT_PAGE = 250
#: Longer lists of tickers have been answered with 414.
TICKERS_PER_CALL = 100


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """``/v1/marketstatus/now``.

    Attributes:
        server_time: the vendor's clock (UTC).
        market: ``open``, ``closed`` or ``extended-hours``.
        exchanges: state per exchange (``nyse``, ``nasdaq``, ``otc``).
        index_groups: state per index provider.
    """

    server_time: datetime
    market: str
    early_hours: bool | None
    after_hours: bool | None
    exchanges: dict[str, str]
    index_groups: dict[str, str]


class MassiveRest(PagedClient):
    """Massive's REST endpoints; see `PagedClient` for the arguments."""

    # Market

    def market_status(self) -> MarketStatus:
        """The vendor's clock and the state of the market."""
        response = self.http.get("/v1/marketstatus/now")
        body = parse.envelope(response.body, url_path=response.url_path)
        try:
            micros = instant(body["serverTime"])
            market = str(body["market"])
        except (KeyError, ValueError) as exc:
            reason = f"market status without a readable {exc}"
        else:
            return MarketStatus(
                server_time=datetime.fromtimestamp(micros // 1_000_000, UTC).replace(
                    microsecond=micros % 1_000_000
                ),
                market=market,
                early_hours=body.get("earlyHours"),
                after_hours=body.get("afterHours"),
                exchanges=dict(body.get("exchanges") or {}),
                index_groups=dict(body.get("indicesGroups") or {}),
            )
        raise MalformedResponseError(reason, url_path=response.url_path)

    def upcoming_holidays(self) -> pl.DataFrame:
        """Coming holidays and early closes: date, exchange, status, name, open, close (UTC)."""
        response = self.http.get("/v1/marketstatus/upcoming")
        rows = response.json()
        if not isinstance(rows, list):
            raise MalformedResponseError("expected a JSON array", url_path=response.url_path)
        return self.frame(rows, parse.HOLIDAYS, response.url_path)

    # Bars

    def aggregates(
        self,
        ticker: str,
        multiplier: int,
        timespan: Timespan,
        first: date | datetime,
        last: date | datetime,
        *,
        adjusted: bool = False,
    ) -> pl.DataFrame:
        """Bars of one ticker, as traded unless ``adjusted``; minutes without a trade are absent.

        Returns:
            ticker, start (UTC), open, high, low, close, volume, vwap, transactions. Index
            bars have no volume, vwap or transactions: null. A day bar starts at midnight in
            New York, an index's in Chicago: take its date in New York, never compare starts.
        """
        path = (
            f"/v2/aggs/ticker/{_segment(ticker)}/range/{multiplier}/{timespan}"
            f"/{_bound(first)}/{_bound(last)}"
        )
        params: Params = {"adjusted": adjusted, "sort": "asc", "limit": AGGREGATE_PAGE}
        frame = self.frame(self.records(path, params), parse.AGGREGATES, path)
        return frame.select(pl.lit(ticker, pl.String).alias("ticker"), pl.all())

    def grouped_daily(self, day: date, *, adjusted: bool = False) -> pl.DataFrame:
        """Day bars of the whole stock market; no rows when there was no session.

        Returns:
            ticker, trade_date, open, high, low, close, volume, vwap, transactions.

        Raises:
            MalformedResponseError: the bars are of another day.
        """
        path = f"/v2/aggs/grouped/locale/us/market/stocks/{day.isoformat()}"
        frame = self.frame(
            self.records(path, {"adjusted": adjusted}), parse.GROUPED_DAILY, path
        ).with_columns(
            pl.col("start").dt.convert_time_zone("America/New_York").dt.date().alias("trade_date")
        )
        if not (frame["trade_date"] == day).all():
            raise MalformedResponseError(f"bars of another day than {day}", url_path=path)
        return frame.select("ticker", "trade_date", pl.exclude("ticker", "trade_date", "start"))

    # Options

    def option_contracts(
        self,
        underlying: str,
        *,
        as_of: date | None = None,
        expired: bool = False,
        expiration_from: date | None = None,
        expiration_to: date | None = None,
        contract_type: ContractType | None = None,
    ) -> pl.DataFrame:
        """Contracts as listed on ``as_of``; ``expired`` adds those already gone by then.

        An index goes by its bare name here (``SPX``); a leading ``I:``, which the chain
        wants and which is answered with no rows here, is dropped.

        Returns:
            symbol, underlying, contract_type, exercise_style, expiration_date, strike_price,
            shares_per_contract, primary_exchange, cfi, correction, and
            additional_underlyings (JSON text, null for a standard contract).
        """
        params: Params = {
            "underlying_ticker": underlying.removeprefix("I:"),
            "as_of": _iso(as_of),
            "expired": expired,
            "expiration_date.gte": _iso(expiration_from),
            "expiration_date.lte": _iso(expiration_to),
            "contract_type": contract_type,
            "limit": REFERENCE_PAGE,
            "sort": "ticker",
            "order": "asc",
        }
        path = "/v3/reference/options/contracts"
        return self.frame(self.records(path, params), parse.OPTION_CONTRACTS, path)

    def option_contract(self, symbol: str, as_of: date | None = None) -> pl.DataFrame:
        """One contract, one row, columns of `option_contracts`.

        Raises:
            NotFoundError: unknown, or expired and ``as_of`` is not before its expiry.
        """
        path = f"/v3/reference/options/contracts/{_segment(symbol)}"
        record = self.one(path, {"as_of": _iso(as_of)})
        return self.frame([record], parse.OPTION_CONTRACTS, path)

    def option_chain_pages(
        self,
        underlying: str,
        *,
        expiration_from: date | None = None,
        expiration_to: date | None = None,
        strike_from: float | None = None,
        strike_to: float | None = None,
        contract_type: ContractType | None = None,
    ) -> Iterator[RawPage]:
        """The live chain of ``SPY`` or ``I:SPX``, raw, for capture; parse with `parse`."""
        params: Params = {
            "expiration_date.gte": _iso(expiration_from),
            "expiration_date.lte": _iso(expiration_to),
            "strike_price.gte": strike_from,
            "strike_price.lte": strike_to,
            "contract_type": contract_type,
            "limit": SNAPSHOT_PAGE,
            "sort": "ticker",
            "order": "asc",
        }
        return self.pages(f"/v3/snapshot/options/{_segment(underlying)}", params)

    # Snapshots

    def stock_snapshot_pages(self, tickers: Collection[str]) -> Iterator[RawPage]:
        """Live snapshots of stocks, raw, for capture."""
        for some in chunks(tickers):
            yield from self.pages(
                "/v3/snapshot", {"ticker.any_of": ",".join(some), "limit": SNAPSHOT_PAGE}
            )

    def index_snapshot_pages(self, tickers: Collection[str]) -> Iterator[RawPage]:
        """Live snapshots of indices (``I:SPX``), raw, for capture."""
        for some in chunks(tickers):
            yield from self.pages(
                "/v3/snapshot/indices", {"ticker.any_of": ",".join(some), "limit": SNAPSHOT_PAGE}
            )

    def index_snapshots(self, tickers: Collection[str]) -> pl.DataFrame:
        """Live snapshots of indices; a refused ticker is a row with ``error`` and ``message``."""
        pages = self.index_snapshot_pages(tickers)
        return whole(parse.parse_index_snapshots(p.body for p in pages), "/v3/snapshot/indices")

    # Corporate actions and reference

    def dividends(self, tickers: Collection[str] | None, first: date, last: date) -> pl.DataFrame:
        """Cash dividends with an ex-date in the range, unadjusted amounts.

        Returns:
            ticker, ex_dividend_date, declaration_date, record_date, pay_date, cash_amount,
            split_adjusted_cash_amount, currency, frequency, distribution_type,
            dividend_type, historical_adjustment_factor, id, source_endpoint. The new
            endpoint leaves dividend_type null, the legacy one the three that it lacks.
        """
        return self._corporate_actions(
            "/stocks/v1/dividends",
            "/v3/reference/dividends",
            "ex_dividend_date",
            parse.DIVIDENDS,
            tickers,
            first,
            last,
        )

    def splits(self, tickers: Collection[str] | None, first: date, last: date) -> pl.DataFrame:
        """Splits executed in the range: ``split_from`` old shares became ``split_to``.

        Returns:
            ticker, execution_date, split_from, split_to, adjustment_type,
            historical_adjustment_factor, id, source_endpoint.
        """
        return self._corporate_actions(
            "/stocks/v1/splits",
            "/v3/reference/splits",
            "execution_date",
            parse.SPLITS,
            tickers,
            first,
            last,
        )

    def _corporate_actions(
        self,
        path: str,
        legacy_path: str,
        date_field: str,
        layout: Layout,
        tickers: Collection[str] | None,
        first: date,
        last: date,
    ) -> pl.DataFrame:
        span: Params = {f"{date_field}.gte": _iso(first), f"{date_field}.lte": _iso(last)}
        try:
            endpoint = path
            records = list(self._by_ticker(path, span, tickers))
        except (NotFoundError, NotEntitledError) as refused:
            # The legacy family still answers on accounts without the new one. It knows no
            # list of tickers, so each one is asked for by itself.
            endpoint = legacy_path
            wanted: Sequence[str | None] = sorted(tickers) if tickers is not None else [None]
            try:
                records = [
                    record
                    for ticker in wanted
                    for record in self.records(
                        legacy_path,
                        span | {"ticker": ticker, "limit": REFERENCE_PAGE, "sort": date_field},
                    )
                ]
            except (NotFoundError, NotEntitledError):
                raise refused from None
        frame = self.frame(records, layout, endpoint)
        if tickers is not None:
            frame = frame.filter(pl.col("ticker").is_in(list(tickers)))
        return frame.with_columns(pl.lit(endpoint, pl.String).alias("source_endpoint")).sort(
            date_field, "ticker", maintain_order=True
        )

    def _by_ticker(
        self, path: str, params: Params, tickers: Collection[str] | None
    ) -> Iterator[Any]:
        if tickers is None:
            yield from self.records(path, params | {"limit": NEW_FAMILY_PAGE})
            return
        for some in chunks(tickers):
            some_of: Params = {"ticker.any_of": ",".join(some), "limit": NEW_FAMILY_PAGE}
            yield from self.records(path, params | some_of)

    def earnings(
        self, first: date, last: date, tickers: Collection[str] | None = None
    ) -> pl.DataFrame:
        """Earnings announcements dated in the range (a paid add-on).

        Returns:
            ticker, date, time_et, date_status (projected, confirmed), fiscal_year,
            fiscal_period, importance, estimated_eps, actual_eps, previous_eps,
            eps_surprise, eps_surprise_percent, the same three of revenue, currency,
            last_updated (UTC), benzinga_id.

        Raises:
            NotEntitledError: the account has no such add-on.
        """
        path = "/benzinga/v1/earnings"
        span: Params = {"date.gte": _iso(first), "date.lte": _iso(last), "sort": "date.asc"}
        return self.frame(self._by_ticker(path, span, tickers), parse.EARNINGS, path)

    def treasury_yields(self, first: date, last: date) -> pl.DataFrame:
        """Treasury par yields of the days in the range, however long, in one request.

        Returns:
            date, months, yield_percent (4.06 is 4.06 %), ascending; a maturity that was not
            published that day has no row.
        """
        path = "/fed/v1/treasury-yields"
        params: Params = {
            "date.gte": _iso(first),
            "date.lte": _iso(last),
            "limit": AGGREGATE_PAGE,
            "sort": "date.asc",
        }
        days = self.frame(self.records(path, params), parse.TREASURY_YIELDS, path)
        return (
            days.unpivot(index="date", variable_name="maturity", value_name="yield_percent")
            .drop_nulls("yield_percent")
            .select(
                "date",
                pl.col("maturity")
                .replace_strict(parse.YIELD_MONTHS, return_dtype=pl.Int64)
                .alias("months"),
                "yield_percent",
            )
            .unique(["date", "months"], keep="last")
            .sort("date", "months")
        )


def _segment(ticker: str) -> str:
    return quote(ticker, safe=":")


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _bound(moment: date | datetime) -> str:
    """A date as it is, an instant in milliseconds."""
    if not isinstance(moment, datetime):
        return moment.isoformat()
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}")
    return str(int(moment.timestamp() * 1000))


def chunks(tickers: Collection[str]) -> Iterator[list[str]]:
    """Distinct tickers in order, as many at a time as one call takes."""
    ordered = sorted(set(tickers))
    for start in range(0, len(ordered), TICKERS_PER_CALL):
        yield ordered[start : start + TICKERS_PER_CALL]

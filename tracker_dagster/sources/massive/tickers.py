"""What Massive's reference says of one ticker."""

from __future__ import annotations

from dataclasses import dataclass

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.massive.paging import PagedClient

#: Kinds of securities that are shares of a company: common stock, receipts of foreign shares.
STOCKS = {
    "CS": "common stock",
    "ADRC": "ADR",
    "GDR": "GDR",
    "NYRS": "New York share",
    "OS": "share",
}
#: Kinds that are shares of a fund or note traded like one.
FUNDS = {"ETF": "ETF", "ETS": "ETF", "ETV": "ETV", "ETN": "ETN", "FUND": "fund"}
#: Others, for messages.
_OTHERS = {
    "PFD": "preferred stock",
    "WARRANT": "warrant",
    "RIGHT": "right",
    "UNIT": "unit",
    "BOND": "bond",
    "ADRP": "preferred ADR",
    "ADRW": "warrant on an ADR",
    "ADRR": "right on an ADR",
    "INDEX": "index",
    "SP": "structured product",
}


@dataclass(frozen=True, slots=True)
class ListedTicker:
    """``/v3/reference/tickers/{ticker}``; what was not said is None.

    Attributes:
        ticker: as the vendor spells it.
        name: of the company or the fund.
        market: ``stocks``, ``otc``, ``indices``, …
        kind: the vendor's code, like CS, ADRC, ETF, WARRANT.
        exchange: MIC of the primary exchange.
        active: whether it trades.
        delisted: since when it does not, as told.
    """

    ticker: str
    name: str | None
    market: str | None
    kind: str | None
    exchange: str | None
    active: bool | None
    delisted: str | None

    @property
    def kind_in_words(self) -> str:
        """What it is, for people."""
        return {**STOCKS, **FUNDS, **_OTHERS}.get(self.kind or "", self.kind or "of unknown kind")

    @property
    def obstacle(self) -> str | None:
        """Why covered calls cannot be written on it, as far as this tells; None if nothing does."""
        if self.market != "stocks":
            return f"is listed under {self.market or 'no market'}, not as a US stock"
        if self.active is not True:
            when = f" since {self.delisted[:10]}" if self.delisted else ""
            return f"is not active{when}"
        if self.kind not in STOCKS and self.kind not in FUNDS:
            return f"is no stock and no fund but: {self.kind_in_words}"
        return None


def listed_ticker(client: PagedClient, ticker: str) -> ListedTicker:
    """What the vendor's reference has of ``ticker`` today.

    Raises:
        NotFoundError: it knows no such ticker.
        MalformedResponseError: the answer is of another ticker, or has no ticker.
        SourceError: see `HttpSession.get`.
    """
    path = f"/v3/reference/tickers/{ticker}"
    row = client.one(path)
    if row.get("ticker") != ticker:
        raise MalformedResponseError(f"the answer is of {row.get('ticker')!r}", url_path=path)

    def text(name: str) -> str | None:
        value = row.get(name)
        return value if isinstance(value, str) and value else None

    active = row.get("active")
    return ListedTicker(
        ticker=ticker,
        name=text("name"),
        market=text("market"),
        kind=text("type"),
        exchange=text("primary_exchange"),
        active=active if isinstance(active, bool) else None,
        delisted=text("delisted_utc"),
    )

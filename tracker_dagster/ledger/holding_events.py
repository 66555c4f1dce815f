"""Events about the shares an account holds: a broker's list read in, shares bought and sold."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tracker_dagster.ledger.events import Event, Money, StockPrice, Text, Ticker

Shares = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Lot(BaseModel):
    """Shares acquired together.

    Attributes:
        ticker: upper-case.
        shares: how many; brokers hold fractions, too.
        basis: dollars a share they had cost; None where it is not known.
        acquired_on: date; None where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ticker: Ticker
    shares: Shares
    basis: StockPrice | None = None
    acquired_on: date | None = None


class HoldingsImported(Event):
    """All lots of an account, as its broker lists them: they take the place of those before.

    Attributes:
        account: the account.
        lots: every lot, in the order of the list.
    """

    kind = "holdings_imported"
    account: Text
    lots: tuple[Lot, ...]


class _SharesTraded(Event):
    account: Text
    ticker: Ticker
    shares: Shares
    price: StockPrice
    fees: Money = 0.0


class SharesBought(_SharesTraded):
    """Shares were bought; what they cost is the price and their part of the fees.

    Attributes:
        account: the account.
        ticker: upper-case.
        shares: how many.
        price: dollars a share.
        fees: dollars, for all of them.
    """

    kind = "shares_bought"


class SharesSold(_SharesTraded):
    """Shares were sold, the oldest first.

    Attributes:
        account: the account.
        ticker: upper-case.
        shares: how many.
        price: dollars a share.
        fees: dollars, for all of them.
    """

    kind = "shares_sold"

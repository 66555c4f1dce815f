"""The kinds of events people cause, and how each is written as one row of the ledger.

An event is a value: it never changes, and its identity follows from what it says, so that
recording it twice records it once. No I/O and no clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date
from typing import Annotated, Any, ClassVar, Literal, Self

import polars as pl
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.schemas.system import LEDGER

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Ticker = Annotated[
    str,
    BeforeValidator(lambda value: value.strip().upper() if isinstance(value, str) else value),
    StringConstraints(pattern=r"^[A-Z][A-Z0-9.\-]{0,9}$"),
]
Instant = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]

StockPrice = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: The account whose positions nobody holds at a broker; its shares come with its calls.
PAPER = "paper"

_ENVELOPE = frozenset({"effective_at", "recorded_at", "actor"})


class Event(BaseModel):
    """What every event says of itself.

    Attributes:
        effective_at: when it takes effect.
        recorded_at: when it was recorded, which may be later or earlier.
        actor: who recorded it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    _kinds: ClassVar[dict[str, type[Event]]] = {}

    effective_at: Instant
    recorded_at: Instant
    actor: Text

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__:
            Event._kinds[cls.kind] = cls

    @property
    def payload(self) -> dict[str, Any]:
        """The facts of the event, as JSON values."""
        return self.model_dump(mode="json", exclude=set(_ENVELOPE))

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this the same event when it is recorded again."""
        return {"effective_at": self.effective_at.isoformat(), **self.payload}

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts the events of a ledger: by effect, then by record; what opens before what ends."""
        ends = isinstance(self, _PositionEnded)
        revision = self.revision if isinstance(self, _UniverseChanged) else 0
        return self.effective_at, ends, self.recorded_at, revision

    @property
    def event_id(self) -> str:
        """SHA-256 of kind and identity, shortened to 32 hexadecimal digits."""
        text = _canonical({"kind": self.kind, **self.identity})
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_row(self) -> dict[str, Any]:
        """The event as a row of the ledger."""
        return {
            "event_id": self.event_id,
            "effective_at": self.effective_at,
            "recorded_at": self.recorded_at,
            "actor": self.actor,
            "kind": self.kind,
            "payload": _canonical(self.payload),
        }

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Event:
        """The event that a row of the ledger holds.

        Raises:
            ValueError: a kind this version does not know, or a payload that is not of its kind.
        """
        try:
            event = Event._kinds[row["kind"]]
        except KeyError:
            raise ValueError(f"the ledger holds an unknown kind of event: {row['kind']}") from None
        envelope = {name: row[name] for name in _ENVELOPE}
        return event.model_validate({**json.loads(row["payload"]), **envelope})


class _UniverseChanged(Event):
    """A change to one ticker of the universe.

    Attributes:
        ticker: upper-case.
        revision: how many changes to the ticker the ledger held before. It orders changes made
            at one instant, which a stopped clock makes common.
    """

    ticker: Ticker
    revision: Annotated[int, Field(ge=0)] = 0

    @property
    def payload(self) -> dict[str, Any]:
        """The facts of the event that are known; what older events did not say keeps them equal."""
        return {name: value for name, value in super().payload.items() if value is not None}


class UniverseListed(_UniverseChanged):
    """A ticker joins the universe, or changes its category. It starts enabled.

    Attributes:
        category: category, like MEGA_TECH.
        reference: what the vendor's reference says the ticker is, or that nobody asked; None
            where it came with the tracked list or was there before.
    """

    kind = "universe_listed"
    category: Text
    reference: Text | None = None


class UniverseEnabled(_UniverseChanged):
    """Picks are made for a ticker again."""

    kind = "universe_enabled"


class UniverseDisabled(_UniverseChanged):
    """No picks are made for a ticker, which stays in the universe."""

    kind = "universe_disabled"


class CandidateProposed(_UniverseChanged):
    """A ticker is proposed for the universe, or proposed anew with other facts.

    Attributes:
        source: who or what proposes it.
        reason: why.
        category: category that it would have.
        score: how good it seems to its source, on the source's own scale; higher is better.
        reference: as `UniverseListed`.
    """

    kind = "candidate_proposed"
    source: Text
    reason: Text | None = None
    category: Text | None = None
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    reference: Text | None = None


class CandidateApproved(_UniverseChanged):
    """A candidate was taken into the universe; a `UniverseListed` goes with it."""

    kind = "candidate_approved"
    category: Text


class CandidateRejected(_UniverseChanged):
    """A candidate was turned down.

    Attributes:
        reason: why.
    """

    kind = "candidate_rejected"
    reason: Text | None = None


class PositionOpened(Event):
    """A position in one option contract, opened on a decision.

    The same account, session, decision and contract are the same position.

    Attributes:
        account: book it belongs to.
        day: session of the decision.
        decision_at: instant of the decision.
        symbol: OPRA ticker.
        quantity: contracts, negative when sold.
        price: premium in dollars per share.
        shares: shares one contract delivers.
        stock_basis: cost per share of the stock held against it; None without a stock leg, or
            where the account does not know what its shares had cost.
        stock_source: ``bought`` where the shares were bought with the option and belong to the
            position; ``held`` where they are the account's own and stay in it; None without any.
        rolled_from: position that this one was rolled from; it takes its shares over.
        fees: dollars, for the whole position.
    """

    kind = "position_opened"
    account: Text = PAPER
    day: date
    decision_at: Instant
    symbol: Text
    quantity: int
    price: Money
    shares: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    stock_basis: StockPrice | None = None
    stock_source: Literal["bought", "held"] | None = None
    rolled_from: Text | None = None
    fees: Money = 0.0

    @model_validator(mode="before")
    @classmethod
    def _older_events_bought_their_shares(cls, facts: Any) -> Any:
        if isinstance(facts, dict) and facts.get("stock_source") is None:
            with_shares = facts.get("stock_basis") is not None
            return {**facts, "stock_source": "bought" if with_shares else None}
        return facts

    @model_validator(mode="after")
    def _has_what_it_says(self) -> Self:
        if self.stock_source == "bought" and self.stock_basis is None:
            raise ValueError("shares that are bought with the option have a cost: stock_basis")
        if self.stock_source == "held" and not self.is_call_sold:
            raise ValueError("only calls that are sold are written on shares held")
        return self

    @property
    def is_call_sold(self) -> bool:
        """Whether it is a short call."""
        return self.quantity < 0 and parse_option_symbol(self.symbol).right == "C"

    @field_validator("symbol")
    @classmethod
    def _is_option(cls, symbol: str) -> str:
        parsed = parse_option_symbol(symbol)
        return str(parsed)

    @field_validator("quantity")
    @classmethod
    def _is_some(cls, quantity: int) -> int:
        if quantity == 0:
            raise ValueError("a position of zero contracts is none")
        return quantity

    @property
    def ticker(self) -> str:
        """Ticker of the underlying."""
        return parse_option_symbol(self.symbol).underlying

    @property
    def strike(self) -> float:
        """Strike in dollars a share."""
        return float(parse_option_symbol(self.symbol).strike)

    @property
    def identity(self) -> dict[str, Any]:
        """Account, session, decision and contract."""
        return {
            "account": self.account,
            "day": self.day.isoformat(),
            "decision_at": self.decision_at.isoformat(),
            "symbol": self.symbol,
        }


class _PositionEnded(Event):
    """What ends a position: the first such event in effect decides, later ones change nothing."""

    position_id: Text

    @property
    def identity(self) -> dict[str, Any]:
        """One position ends in one way once."""
        return {"position_id": self.position_id}


class PositionClosed(_PositionEnded):
    """The whole position was bought back, or sold; or settled in cash, as index options are.

    Attributes:
        price: premium in dollars per share.
        stock_sold_at: dollars a share for which the stock held against it was sold; None where
            there was none, or nothing was recorded of it.
        rolled_to: position that takes its place, and its shares with it.
        fees: dollars.
    """

    kind = "position_closed"
    price: Money
    stock_sold_at: StockPrice | None = None
    rolled_to: Text | None = None
    fees: Money = 0.0


class PositionExpired(_PositionEnded):
    """The contracts expired worthless.

    Attributes:
        stock_sold_at: dollars a share for which the stock held against it was sold; None where
            there was none, or nothing was recorded of it.
    """

    kind = "position_expired"
    stock_sold_at: StockPrice | None = None


class PositionAssigned(_PositionEnded):
    """The contracts were exercised: the shares changed hands at the strike.

    Attributes:
        fees: dollars.
    """

    kind = "position_assigned"
    fees: Money = 0.0


def events_frame(events: Iterable[Event]) -> pl.DataFrame:
    """The events as rows of the ledger."""
    return pl.DataFrame(
        [event.to_row() for event in events], schema=LEDGER.polars_schema, orient="row"
    )


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

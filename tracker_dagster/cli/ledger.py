"""Commands on positions: opened, closed, rolled, expired, assigned, listed; and the wheel."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tracker_dagster.cli.shared import (
    DbPath,
    ExistingDb,
    PastDay,
    app,
    console,
    exit_codes,
    opened_workplace,
    session_date,
    settings_or_exit,
)

if TYPE_CHECKING:
    from tracker_dagster.operations.endings import Ended

_PANEL = "Ledger"


def moment_of(text: str) -> datetime:
    """Parse a time option; one without a zone is New York's."""
    from tracker_dagster.trading_calendar import EASTERN

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-06-05T15:40") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=EASTERN)


PositionId = Annotated[
    str,
    typer.Argument(
        metavar="POSITION_ID",
        help="The position, or the beginning of its id as `tracker positions` shows it.",
    ),
]
Fees = Annotated[float, typer.Option("--fees", min=0, help="Fees, in dollars.")]
At = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        parser=moment_of,
        metavar="TIME",
        help="When it was done, like 2026-06-05T15:40 (Eastern). [default: now]",
    ),
]
Floor = Annotated[
    bool | None,
    typer.Option(
        "--floor-at-basis/--any-strike",
        help="Calls on shares held: at their average basis or above only. "
        "[default: TRACKER_HOLDINGS_STRIKE_FLOOR]",
        show_default=False,
    ),
]
OneAccount = Annotated[str | None, typer.Option("--account", help="Only this one. [default: all]")]


@app.command("open", rich_help_panel=_PANEL)
def open_command(
    symbols: Annotated[
        list[str], typer.Argument(help="OPRA symbols, or tickers that were promoted.")
    ],
    quantity: Annotated[
        int, typer.Option("--quantity", "-q", help="Contracts; negative is sold.")
    ] = -1,
    price: Annotated[
        float | None, typer.Option(min=0, help="Premium a share; the bid or ask by default.")
    ] = None,
    stock_basis: Annotated[
        float | None, typer.Option(min=0.0001, help="Cost a share of the stock bought with it.")
    ] = None,
    account: Annotated[str, typer.Option(help="Book it belongs to.")] = "paper",
    held: Annotated[
        bool,
        typer.Option(
            "--held", help="A call on shares that paper holds; other accounts write no others."
        ),
    ] = False,
    floor_at_basis: Floor = None,
    cash: Annotated[
        float | None,
        typer.Option(
            min=0, help="Dollars that may secure a put that is sold. [default: the seed, in paper]"
        ),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add to a contract that is open already.")
    ] = False,
    as_of: Annotated[
        date | None,
        typer.Option(
            "--as-of", parser=session_date, metavar="DATE", help="Act on a past session's decision."
        ),
    ] = None,
    fees: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Fees, in dollars. [default: those of picks, for one in paper; else 0]",
            show_default=False,
        ),
    ] = None,
    at: At = None,
    db_path: DbPath = None,
) -> None:
    """Record positions in the ledger, once each. Nothing is sent to any broker."""
    if quantity == 0:
        raise typer.BadParameter("--quantity cannot be 0")
    with opened_workplace() as place:
        from tracker_dagster.operations.daily import session_of
        from tracker_dagster.operations.positions import PAPER, Order, open_order

        now = place.now()
        session = session_of(as_of, now if at is None else at)
        settings = place.settings
        floor = settings.holdings_strike_floor if floor_at_basis is None else floor_at_basis
        if cash is None and account == PAPER:
            cash = settings.seed
        for symbol in symbols:
            opened = open_order(
                place.warehouse,
                Order(
                    symbol,
                    quantity,
                    price,
                    stock_basis,
                    account,
                    held=held,
                    floor_at_basis=floor,
                    cash=cash,
                    add=add,
                    fees=fees,
                    at=at,
                ),
                session,
                now,
                as_of=as_of is not None,
                actor="cli",
            )
            order = opened.order
            word = "opened" if opened.recorded.is_new else "was open already:"
            console.print(
                f"{word} {order.quantity:+d} {order.symbol} at {order.price:.2f}"
                + (f", stock at {order.stock_basis:.2f}" if order.stock_basis else "")
                + f" ({order.account}, {opened.recorded.event_id[:12]})",
                highlight=False,
            )


@app.command("close", rich_help_panel=_PANEL)
def close_command(
    position: PositionId,
    price: Annotated[float, typer.Option(min=0, help="Premium a share.")],
    stock_price: Annotated[
        float | None,
        typer.Option(
            min=0.0001, help="What a share of a buy-write was sold for; the last by default."
        ),
    ] = None,
    fees: Fees = 0.0,
    at: At = None,
    as_opened: Annotated[
        bool,
        typer.Option(
            "--as-opened", help="The stock has split: prices are for a share as it was before."
        ),
    ] = False,
    db_path: DbPath = None,
) -> None:
    """Record that an open position was closed, both legs of a buy-write. No broker is asked."""
    with opened_workplace() as place:
        from tracker_dagster.operations.endings import close_order

        ended = close_order(
            place.warehouse,
            position,
            price,
            place.now(),
            actor="cli",
            stock_price=stock_price,
            fees=fees,
            at=at,
            as_opened=as_opened,
        )
        _print_ended("closed", ended)


@app.command(rich_help_panel=_PANEL)
def roll(
    position: PositionId,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="SYMBOL", help="Contract; the monitor's roll by default."),
    ] = None,
    close_price: Annotated[
        float | None, typer.Option(min=0, help="Premium a share to end the old; the last ask.")
    ] = None,
    open_price: Annotated[
        float | None, typer.Option(min=0, help="Premium a share of the new; the last bid.")
    ] = None,
    fees: Annotated[
        float | None,
        typer.Option(
            min=0, help="Fees of both legs together, in dollars. [default: 0]", show_default=False
        ),
    ] = None,
    floor_at_basis: Floor = None,
    at: At = None,
    db_path: DbPath = None,
) -> None:
    """Record that a position was rolled into another contract, both legs or neither."""
    with opened_workplace() as place:
        from tracker_dagster.operations.rolls import RollOrder, roll_order

        done = roll_order(
            place.warehouse,
            RollOrder(
                position,
                to,
                close_price,
                open_price,
                fees,
                place.settings.holdings_strike_floor if floor_at_basis is None else floor_at_basis,
            ),
            place.now(),
            actor="cli",
            at=at,
        )
        credit = done.rolled.net_credit
        console.print(
            f"{'rolled' if done.rolled.opened.is_new else 'was rolled already:'} "
            f"{done.quantity:+d} {done.old_symbol} at {done.close_price:.2f} into "
            f"{done.new_symbol} at {done.open_price:.2f}: net {_word(credit)} "
            f"{abs(credit):,.2f} USD ({done.account}, {done.rolled.opened.event_id[:12]})",
            highlight=False,
            soft_wrap=True,
        )


def _word(credit: float) -> str:
    return "credit" if credit >= 0 else "debit"


@app.command(rich_help_panel=_PANEL)
def expire(
    position: PositionId,
    stock_price: Annotated[
        float | None,
        typer.Option(
            min=0.0001, help="What a share of a buy-write was sold for; the close by default."
        ),
    ] = None,
    db_path: DbPath = None,
) -> None:
    """Record that a position expired worthless; `tracker daily` does so by itself."""
    with opened_workplace() as place:
        from tracker_dagster.operations.endings import expire_order

        ended = expire_order(
            place.warehouse, position, place.now(), actor="cli", stock_price=stock_price
        )
        _print_ended("expired", ended)


@app.command(rich_help_panel=_PANEL)
def assign(position: PositionId, fees: Fees = 0.0, at: At = None, db_path: DbPath = None) -> None:
    """Record that a position was assigned, at its expiry or early: shares move at the strike."""
    with opened_workplace() as place:
        from tracker_dagster.operations.endings import assign_order

        ended = assign_order(place.warehouse, position, place.now(), actor="cli", fees=fees, at=at)
        _print_ended("assigned", ended)


def _print_ended(word: str, ended: Ended) -> None:
    told = f"{word} {ended.quantity:+d} {ended.symbol}"
    if ended.price:
        told += f" at {ended.price:.2f}"
    if ended.shares:
        came = "came" if ended.shares > 0 else "left"
        told += f", {abs(ended.shares):g} shares {came} at {ended.stock_price:.2f}"
    elif ended.stock_price:
        told += f", stock sold at {ended.stock_price:.2f}"
    if ended.realised_pnl is not None:
        told += f": {ended.realised_pnl:+,.2f} USD"
    elif ended.shares:
        told += ": what its shares had cost is not known"
    console.print(f"{told} ({ended.position_id[:12]})", highlight=False, soft_wrap=True)


def show_book(part: str, account: str | None, as_of: date | None, **more: bool) -> None:
    """Print a part of the book: positions, holdings or the wheel."""
    settings = settings_or_exit()
    with exit_codes():
        from tracker_dagster.operations import book_view
        from tracker_dagster.trading_calendar import decision_time
        from tracker_dagster.warehouse import Warehouse

        if not settings.database.exists():
            console.print(
                f"nothing is here yet ({settings.database}): run `tracker demo` or `tracker daily`",
                highlight=False,
                soft_wrap=True,
            )
            return
        moment = None if as_of is None else decision_time(as_of)
        warehouse = Warehouse(settings.database)
        for shown in getattr(book_view, part)(warehouse, moment, account, **more):
            console.print(shown, highlight=False)


@app.command(rich_help_panel=_PANEL)
def positions(
    account: OneAccount = None,
    ended: Annotated[
        bool, typer.Option("--all", help="Those that have ended, too, with their result.")
    ] = False,
    as_of: PastDay = None,
    db_path: ExistingDb = None,
) -> None:
    """Open positions of every account, paper and real."""
    show_book("positions", account, as_of, ended=ended)


@app.command(rich_help_panel=_PANEL)
def wheel(account: OneAccount = None, as_of: PastDay = None, db_path: ExistingDb = None) -> None:
    """Each turn of the wheel: puts until assigned, calls on the shares until called away."""
    show_book("wheel", account, as_of)

"""Commands that record what people change."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import typer

from tracker_dagster.cli.shared import DbPath, app, console, opened_workplace, session_date


@app.command("open", rich_help_panel="Ledger")
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
        float | None, typer.Option(min=0, help="Cost a share of the stock held against it.")
    ] = None,
    account: Annotated[str, typer.Option(help="Book it belongs to.")] = "paper",
    as_of: Annotated[
        date | None,
        typer.Option(
            "--as-of", parser=session_date, metavar="DATE", help="Act on a past session's decision."
        ),
    ] = None,
    db_path: DbPath = None,
) -> None:
    """Record paper positions in the ledger, once each. Nothing is sent to any broker."""
    if quantity == 0:
        raise typer.BadParameter("--quantity cannot be 0")
    with opened_workplace() as place:
        from tracker_dagster.operations.daily import session_of
        from tracker_dagster.operations.positions import Order, open_order

        now = place.now()
        session = session_of(as_of, now)
        for symbol in symbols:
            opened = open_order(
                place.warehouse,
                Order(symbol, quantity, price, stock_basis, account),
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


def _moment(text: str) -> datetime:
    from tracker_dagster.trading_calendar import EASTERN

    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=EASTERN)


@app.command("close", rich_help_panel="Ledger")
def close_command(
    position: Annotated[
        str,
        typer.Argument(
            metavar="POSITION_ID",
            help="The position, or the beginning of its id as `tracker status` shows it.",
        ),
    ],
    price: Annotated[float, typer.Option(min=0, help="Premium a share.")],
    stock_price: Annotated[
        float | None,
        typer.Option(
            min=0.0001, help="What a share of a covered call was sold for; the last by default."
        ),
    ] = None,
    fees: Annotated[float, typer.Option(min=0, help="Fees, in dollars.")] = 0.0,
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment,
            metavar="TIME",
            help="When it was closed, like 2026-06-05T15:40 (Eastern). [default: now]",
        ),
    ] = None,
    db_path: DbPath = None,
) -> None:
    """Record that an open position was closed, both legs of a covered call. No broker is asked."""
    with opened_workplace() as place:
        from tracker_dagster.operations.positions import close_order

        closed = close_order(
            place.warehouse,
            position,
            price,
            place.now(),
            actor="cli",
            stock_price=stock_price,
            fees=fees,
            at=at,
        )
        result = closed.realised_pnl
        console.print(
            f"closed {closed.quantity:+d} {closed.symbol} at {closed.price:.2f}"
            + (f", stock sold at {closed.stock_price:.2f}" if closed.stock_price else "")
            + ("" if result is None else f": {result:+,.2f} USD")
            + f" ({closed.position_id[:12]})",
            highlight=False,
        )

"""Commands on shares that accounts hold: listed, imported from a file, bought and sold."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from tracker_dagster.cli.ledger import At, Fees, OneAccount, show_book
from tracker_dagster.cli.shared import (
    DbPath,
    ExistingDb,
    PastDay,
    app,
    calendar_date,
    console,
    exit_codes,
    opened_workplace,
)

group = typer.Typer(
    invoke_without_command=True,
    help="Shares that accounts hold: listed, imported from a file, bought and sold.",
)
app.add_typer(group, name="holdings", rich_help_panel="Ledger")

Account = Annotated[str, typer.Option("--account", help="Account that holds them.")]


@group.callback()
def holdings(
    context: typer.Context,
    account: OneAccount = None,
    as_of: PastDay = None,
    db_path: ExistingDb = None,
) -> None:
    """Shares that accounts hold, how many are free, and the calls to write on them."""
    if context.invoked_subcommand is None:
        show_book("holdings", account, as_of)


@group.command("import")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="CSV: ticker, shares, and where known basis (USD a share), acquired_on. "
            "A row is a lot.",
        ),
    ],
    account: Account,
    of: Annotated[
        date | None,
        typer.Option(
            "--as-of",
            parser=calendar_date,
            metavar="DATE",
            help="Date of the list: it counts from the end of it. [default: now]",
        ),
    ] = None,
    db_path: DbPath = None,
) -> None:
    """Let an account hold just what a file lists; the same file again changes nothing."""
    with exit_codes():
        from tracker_dagster.ledger.holding_commands import (
            end_of_date,
            import_holdings,
            read_holdings,
        )
        from tracker_dagster.operations.choice import UsageError

        try:
            lots = read_holdings(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise UsageError(f"{file} is no text in UTF-8") from None
        with opened_workplace() as place:
            done = import_holdings(
                place.warehouse,
                account,
                lots,
                place.now(),
                "cli",
                effective_at=None if of is None else end_of_date(of),
            )
            what = f"{done.shares:,g} shares of {done.tickers} tickers in {done.lots} lots"
            console.print(
                f"{account} holds {what}" if done.is_new else f"{account} held just these already",
                highlight=False,
            )
            for ticker, missing in done.uncovered.items():
                console.print(
                    f"[yellow]{ticker}[/]: calls are open on {missing:g} shares more than these",
                    highlight=False,
                )


@group.command("buy")
def buy_command(
    ticker: str,
    shares: float,
    price: Annotated[float, typer.Option(help="Dollars a share.")],
    account: Account,
    fees: Fees = 0.0,
    at: At = None,
    db_path: DbPath = None,
) -> None:
    """Record that an account bought shares. No broker is asked."""
    with opened_workplace() as place:
        from tracker_dagster.ledger.holding_commands import buy_shares

        is_new = buy_shares(
            place.warehouse, account, ticker, shares, price, place.now(), "cli", fees=fees,
            effective_at=at,
        )  # fmt: skip
        _print_trade("bought", is_new, account, ticker, shares, price)


@group.command("sell")
def sell_command(
    ticker: str,
    shares: float,
    price: Annotated[float, typer.Option(help="Dollars a share.")],
    account: Account,
    fees: Fees = 0.0,
    at: At = None,
    db_path: DbPath = None,
) -> None:
    """Record that an account sold free shares, the oldest first. No broker is asked."""
    with opened_workplace() as place:
        from tracker_dagster.ledger.holding_commands import sell_shares

        is_new = sell_shares(
            place.warehouse, account, ticker, shares, price, place.now(), "cli", fees=fees,
            effective_at=at,
        )  # fmt: skip
        _print_trade("sold", is_new, account, ticker, shares, price)


def _print_trade(
    word: str, is_new: bool, account: str, ticker: str, shares: float, price: float
) -> None:
    told = word if is_new else f"was {word} already:"
    console.print(
        f"{told} {shares:g} {ticker.strip().upper()} at {price:.2f} ({account})", highlight=False
    )

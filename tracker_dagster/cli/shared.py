"""What all commands share: the app, option types, settings, a workplace, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from tracker_dagster.operations.choice import Choice
    from tracker_dagster.operations.workplace import Workplace
    from tracker_dagster.settings import Settings

OK, FAILED, USAGE, UNREACHABLE, BUSY, INTERRUPTED = 0, 1, 2, 69, 75, 130
EXIT_CODES = (
    "Exit codes: 0 done · 1 a run failed · 2 wrong usage or settings · 69 the market does not "
    "answer · 75 another `tracker daily` is running · 130 interrupted."
)

app = typer.Typer(
    name="tracker",
    help="Options income research as a Dagster graph: picks, promotions, reports.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console()
#: Columns of tables when nobody looks at them: in a file or a pipe no name may be cut.
WIDE = 160
if not console.is_terminal:
    console.width = max(console.width, WIDE)
problems = Console(stderr=True)


def calendar_date(text: str) -> date:
    """Parse a date option; anything else is wrong usage."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date like 2025-06-13") from None


def session_date(text: str) -> date:
    """Parse a date option that must be a trading session."""
    from tracker_dagster.trading_calendar import is_session

    day = calendar_date(text)
    if not is_session(day):
        raise typer.BadParameter(f"{day} is not a trading session")
    return day


def _choose_database(path: Path | None) -> Path | None:
    """Point everything that follows at the database; settings are read later."""
    if path is not None:
        from tracker_dagster.operations.environment import choose_database
        from tracker_dagster.settings import home

        choose_database(path, home())
    return path


#: Taken by a command only to be named in its help: the callback does what there is to do.
DbPath = Annotated[
    Path | None,
    typer.Option(
        "--db-path",
        metavar="FILE",
        dir_okay=False,
        callback=_choose_database,
        help="Another database; reports, captures and Dagster's home lie in its folder.",
    ),
]
#: The same where nothing would be made of a file that is not there.
ExistingDb = Annotated[
    Path | None,
    typer.Option(
        "--db-path",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        callback=_choose_database,
        help="Another database that there is.",
    ),
]
Day = Annotated[
    date | None,
    typer.Option("--day", "--as-of", parser=session_date, metavar="DATE", help="Session."),
]
AsOf = Annotated[
    date | None,
    typer.Option(
        "--as-of",
        "--day",
        parser=session_date,
        metavar="DATE",
        help="A past session: made again from what was known on it, and stored.",
    ),
]
PastDay = Annotated[
    date | None,
    typer.Option(
        "--as-of",
        parser=session_date,
        metavar="DATE",
        help="As it stood at the decision time of a session. [default: now]",
    ),
]
Seed = Annotated[
    float | None, typer.Option("--seed", min=0.01, help="Cash in US dollars. [default: 9300]")
]
Lane = Annotated[
    str | None,
    typer.Option(
        "--lane",
        help="SAFE, SAFE_HIGH, SAFE_HIGH_PAYOUT, AGGRESSIVE or ALL. [default: SAFE_HIGH]",
    ),
]
TopN = Annotated[int | None, typer.Option("--top-n", min=1, help="Most promotions. [default: 3]")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Capture prices and chains anew first.")]
First = Annotated[date, typer.Argument(parser=calendar_date, metavar="FROM", help="First date.")]
Last = Annotated[date, typer.Argument(parser=calendar_date, metavar="TO", help="Last date.")]


def settings_or_exit() -> Settings:
    """Settings of the environment and ``.env``; a wrong one ends the command, its value unseen."""
    from pydantic import ValidationError

    from tracker_dagster.operations.environment import adopt_env_file
    from tracker_dagster.settings import home, load_settings

    adopt_env_file(home())
    try:
        return load_settings()
    except ValidationError as error:
        # Only the message: the value may be a key.
        for item in error.errors(include_input=False, include_url=False, include_context=False):
            where = ".".join(map(str, item["loc"])) or "settings"
            problems.print(f"[red]settings[/] {where}: {escape(item['msg'])}", highlight=False)
        raise typer.Exit(USAGE) from None


def choice_or_exit(seed: float | None, lane: str | None, top_n: int | None) -> Choice:
    """What the options choose; an unknown lane is wrong usage."""
    from tracker_dagster.operations.choice import Choice, UsageError

    try:
        return Choice(seed, None if lane is None else lane.strip().upper(), top_n)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def opened_workplace() -> Iterator[Workplace]:
    """A workplace for the body of a command, with its failures told and turned into codes."""
    settings = settings_or_exit()
    from tracker_dagster.operations.workplace import workplace

    with exit_codes(), workplace(settings, console) as place:
        yield place


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what operations raise into a sentence and an exit code."""
    from tracker_dagster.automation.turnstile import BusyError
    from tracker_dagster.ledger.commands import LedgerError
    from tracker_dagster.operations.choice import UsageError
    from tracker_dagster.operations.market import MarketDownError
    from tracker_dagster.operations.supervision import UpError
    from tracker_dagster.operations.workplace import RunFailedError
    from tracker_dagster.resources import MissingKeyError
    from tracker_dagster.sources.errors import SourceError
    from tracker_dagster.warehouse import WarehouseError

    codes: dict[type[Exception], int] = {
        UsageError: USAGE,
        LedgerError: USAGE,
        MissingKeyError: USAGE,
        MarketDownError: UNREACHABLE,
        BusyError: BUSY,
        RunFailedError: FAILED,
        UpError: FAILED,
        SourceError: FAILED,
        WarehouseError: FAILED,
    }
    try:
        yield
    except tuple(codes) as error:
        code = next(value for kind, value in codes.items() if isinstance(error, kind))
        problems.print(f"[red]{escape(str(error))}[/]", highlight=False)
        raise typer.Exit(code) from None


def print_done(settings: Settings, document: str = "summary.md") -> None:
    """The last line of a command that wrote a report: where it is."""
    from tracker_dagster.operations.results import document_path

    console.print(
        f"[bold green]Done[/] → {document_path(settings.reports_dir, document)}",
        highlight=False,
        soft_wrap=True,
    )

"""The `tracker` command: options in, `operations` called, rich output and an exit code out.

Nothing heavy is imported before a command runs: `--help` answers at once, without a key.
"""

from __future__ import annotations

import os
import signal
import sys
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
problems = Console(stderr=True)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date like 2025-06-13") from None


def _session(text: str) -> date:
    from tracker_dagster.trading_calendar import is_session

    day = _day(text)
    if not is_session(day):
        raise typer.BadParameter(f"{day} is not a trading session")
    return day


Day = Annotated[
    date | None,
    typer.Option("--day", parser=_session, metavar="DATE", help="Session."),
]
AsOf = Annotated[
    date | None,
    typer.Option(
        "--as-of",
        parser=_session,
        metavar="DATE",
        help="A past session: made again from what was known on it, and stored.",
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
TopN = Annotated[
    int | None, typer.Option("--top-n", min=1, help="Picks considered in rank order. [default: 3]")
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Capture prices and chains anew first.")]
First = Annotated[date, typer.Argument(parser=_day, metavar="FROM", help="First date.")]
Last = Annotated[date, typer.Argument(parser=_day, metavar="TO", help="Last date.")]


# What every command stands on


def _settings() -> Settings:
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


def _choice(seed: float | None, lane: str | None, top_n: int | None) -> Choice:
    from tracker_dagster.operations.choice import Choice, UsageError

    try:
        return Choice(seed, lane.upper() if lane else None, top_n)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _workplace() -> Iterator[Workplace]:
    settings = _settings()
    from tracker_dagster.operations.workplace import workplace

    with _exit_codes(), workplace(settings, console) as place:
        yield place


@contextmanager
def _exit_codes() -> Iterator[None]:
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


def _done(settings: Settings) -> None:
    from tracker_dagster.operations.results import summary_path

    console.print(
        f"[bold green]Done[/] → {summary_path(settings.reports_dir)}",
        highlight=False,
        soft_wrap=True,
    )


# Setting up


@app.command(rich_help_panel="Start here")
def demo(
    sessions: Annotated[
        int, typer.Option(min=6, max=250, help="Past sessions to load before today's.")
    ] = 25,
) -> None:
    """Build weeks of history and today's summary, on the simulated market when no key is set."""
    with _workplace() as place:
        from tracker_dagster.operations.demo import run_demo

        missing = run_demo(place, sessions)
        if missing:
            problems.print(f"[red]the summary lacks[/] {', '.join(missing)}", highlight=False)
            raise typer.Exit(FAILED)
        _done(place.settings)
        console.print(
            "Look at the report, ask [bold]tracker status[/], or open the graph with "
            "[bold]tracker up[/].",
            highlight=False,
        )


@app.command(rich_help_panel="Start here")
def init(
    env_only: Annotated[
        bool, typer.Option("--env-only", help="Write .env and nothing else.")
    ] = False,
) -> None:
    """Make the data folders, .env, Dagster's home, the tables, and list the universe.

    Lines of your own in .env are kept.
    """
    from tracker_dagster.operations.environment import ENV_FILE, write_env_file
    from tracker_dagster.settings import home

    settings = _settings()
    changed = write_env_file(home(), settings.data_dir)
    what = f"wrote {', '.join(changed)}" if changed else "is complete"
    console.print(f"{home() / ENV_FILE} {what}", highlight=False, soft_wrap=True)
    if env_only:
        return
    with _workplace() as place:
        from tracker_dagster.operations.daily import sync

        place.warehouse.migrate()
        console.print(f"{place.settings.database} is ready", highlight=False, soft_wrap=True)
        console.print(sync(place, place.now()), highlight=False)


@app.command(rich_help_panel="Start here")
def up(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of the UI.")] = 3000,
    automation: Annotated[
        bool | None,
        typer.Option(
            "--automation/--no-automation",
            help="Turn schedules and sensors on, or leave them; asks on a terminal.",
        ),
    ] = None,
) -> None:
    """Open the Dagster UI with its daemon, and the simulated market when no key is set."""
    settings = _settings()
    with _exit_codes():
        from tracker_dagster.operations.up import run_up
        from tracker_dagster.settings import home

        raise typer.Exit(run_up(settings, home(), console, port, automation))


@app.command(rich_help_panel="Start here")
def smoke() -> None:
    """Run one whole day in a temporary folder, on a simulated market of its own."""
    from tracker_dagster.operations.smoke import run_smoke

    raise typer.Exit(run_smoke(console))


# The day


@app.command(rich_help_panel="Every day")
def daily(
    seed: Seed = None,
    lane: Lane = None,
    top_n: TopN = None,
    day: Day = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for another daily, or exit with 75.")
    ] = True,
) -> None:
    """Sync, read day files that are due, then decide the session in one Dagster run."""
    choice = _choice(seed, lane, top_n)
    with _workplace() as place:
        from tracker_dagster.operations.daily import daily as run_daily
        from tracker_dagster.operations.results import promotions

        session = run_daily(place, choice, day, wait=wait)
        for part in promotions(place.warehouse, session):
            console.print(part)
        _done(place.settings)


@app.command("run", rich_help_panel="Every day")
def run_command(
    assets: Annotated[list[str], typer.Argument(help="Asset keys, as in the UI.")],
    day: Day = None,
    first: Annotated[
        date | None, typer.Option("--from", parser=_day, metavar="DATE", help="First of a range.")
    ] = None,
    last: Annotated[
        date | None, typer.Option("--to", parser=_day, metavar="DATE", help="Last of a range.")
    ] = None,
) -> None:
    """Materialise chosen assets for a session, or for a range of sessions as one run."""
    if day is not None and (first or last):
        raise typer.BadParameter("give either --day or --from and --to")
    if (first is None) != (last is None):
        raise typer.BadParameter("--from and --to belong together")
    with _workplace() as place:
        from tracker_dagster.operations.daily import session_of
        from tracker_dagster.operations.rebuild import run_assets

        start = first or session_of(day, place.now())
        report = run_assets(place, assets, start, last or start)
        console.print(f"[green]run {report.run_id[:8]} is done[/] in {report.seconds:.1f} s")


@app.command(rich_help_panel="Every day")
def backfill(
    first: First,
    last: Last,
    assets: Annotated[
        str | None, typer.Option(help="Only these assets, separated by commas.")
    ] = None,
) -> None:
    """Rebuild a range of past sessions as one run; clipped to sessions with published day files."""
    with _workplace() as place:
        from tracker_dagster.operations.rebuild import backfill as run_backfill

        chosen = [name.strip() for name in assets.split(",") if name.strip()] if assets else None
        span = run_backfill(place, first, last, chosen)
        console.print(f"[green]{len(span.days)} sessions are done[/]", highlight=False)


@app.command(rich_help_panel="Every day")
def replay(
    first: First, last: Last, seed: Seed = None, lane: Lane = None, top_n: TopN = None
) -> None:
    """Live through past sessions on the simulated clock: each gets captured chains and decisions.

    The clock stands ten minutes before each close; it is put back at the end. Refused with a real
    vendor.
    """
    choice = _choice(seed, lane, top_n)
    with _workplace() as place:
        from tracker_dagster.automation.turnstile import daily_lock
        from tracker_dagster.operations.simulation import replay as run_replay

        with daily_lock(place.settings.run_dir, wait=False):
            days = run_replay(place, first, last, choice)
        console.print(f"[green]{len(days)} sessions were lived through[/]", highlight=False)


# Single steps of the day


def _make(
    assets: list[str],
    show: str,
    day: date | None,
    choice: Choice | None = None,
    *,
    refresh: bool = False,
) -> None:
    chosen = choice or _choice(None, None, None)
    with _workplace() as place:
        from tracker_dagster.operations import results
        from tracker_dagster.operations.rebuild import make

        session = make(place, assets, chosen, day, refresh=refresh)
        parts = getattr(results, show)(place.warehouse, session) if show else []
        for part in parts:
            console.print(part)
        if "summary" in assets:
            _done(place.settings)


@app.command("sync-universe", rich_help_panel="Single steps")
def sync_universe() -> None:
    """List the canonical tickers in the ledger; nothing is deleted, nobody is enabled anew."""
    with _workplace() as place:
        from tracker_dagster.operations.daily import sync

        console.print(sync(place, place.now()), highlight=False)


@app.command(rich_help_panel="Single steps")
def picker(as_of: AsOf = None, refresh: Refresh = False) -> None:
    """Make the session's weekly picks, with what they need that is not there yet."""
    _make(["weekly_picks"], "picks", as_of, refresh=refresh)


@app.command(rich_help_panel="Single steps")
def promote(seed: Seed = None, lane: Lane = None, top_n: TopN = None, as_of: AsOf = None) -> None:
    """Decide which picks the cash promotes, and say why; opens nothing."""
    _make(["promotions"], "promotions", as_of, _choice(seed, lane, top_n))


@app.command(rich_help_panel="Single steps")
def monitor(as_of: AsOf = None, refresh: Refresh = False) -> None:
    """Check the open positions: prices, triggers, P&L, what to do."""
    _make(["positions", "contract_health"], "health", as_of, refresh=refresh)


@app.command(rich_help_panel="Single steps")
def compare(
    seed: Seed = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", min=1, help="Picks per model. [default: 10]")
    ] = None,
    as_of: AsOf = None,
) -> None:
    """Compare baseline, gated and weighted decisions over the same picks."""
    _make(["model_compares"], "comparison", as_of, _choice(seed, None, top_n))


@app.command(rich_help_panel="Single steps")
def summary(seed: Seed = None, as_of: AsOf = None) -> None:
    """Write the session's report from what has been decided."""
    _make(["summary"], "", as_of, _choice(seed, None, None))


# The ledger


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
            "--as-of", parser=_session, metavar="DATE", help="Act on a past session's decision."
        ),
    ] = None,
) -> None:
    """Record paper positions in the ledger, once each. Nothing is sent to any broker."""
    if quantity == 0:
        raise typer.BadParameter("--quantity cannot be 0")
    with _workplace() as place:
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


def _change(ticker: str, action: str, category: str | None = None) -> None:
    with _workplace() as place:
        from tracker_dagster.ledger import commands
        from tracker_dagster.operations.daily import sync

        now = place.now()
        sync(place, now)
        extra = {"category": category} if action == "add" else {}
        changed = getattr(commands, action)(place.warehouse, ticker, now, "cli", **extra)
        past = {"add": "added", "enable": "enabled", "disable": "disabled"}[action]
        name = ticker.strip().upper()
        console.print(f"{name} {past}" if changed else f"{name} was {past} already")


@app.command(rich_help_panel="Ledger")
def enable(ticker: str) -> None:
    """Make picks for a ticker again, from now on."""
    _change(ticker, "enable")


@app.command(rich_help_panel="Ledger")
def disable(ticker: str) -> None:
    """Make no picks for a ticker from now on; past days keep theirs."""
    _change(ticker, "disable")


@app.command(rich_help_panel="Ledger")
def add(
    ticker: str,
    category: Annotated[str | None, typer.Option(help="Category, like MEGA_TECH.")] = None,
) -> None:
    """Bring a ticker into the universe from now on."""
    _change(ticker, "add", category)


# Looking


@app.command(rich_help_panel="Look")
def status() -> None:
    """Tables with age and gaps, quarantine, failed runs, alerts, disk, schedules and sensors."""
    settings = _settings()
    with _exit_codes():
        from tracker_dagster.operations.status_view import print_status

        print_status(settings, console)


@app.command("env-check", rich_help_panel="Look")
def env_check() -> None:
    """Every setting and its source, which keys are set, whether the market answers, what is off."""
    settings = _settings()
    with _exit_codes():
        from tracker_dagster.operations.env_view import print_environment
        from tracker_dagster.settings import home

        raise typer.Exit(OK if print_environment(settings, home(), console) else UNREACHABLE)


@app.command(rich_help_panel="Look")
def sim(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on 127.0.0.1.")] = 8765,
    seed: Annotated[int | None, typer.Option(help="Seed of the world. [default: 9300]")] = None,
    profile: Annotated[str, typer.Option(help="small or full.")] = "small",
    now: Annotated[str | None, typer.Option(help="Clock, like 2025-06-13T15:50 (Eastern).")] = None,
    speed: Annotated[float, typer.Option(min=0, help="Simulated seconds a second.")] = 0.0,
    plan: Annotated[str, typer.Option(help="basic, starter, developer or advanced.")] = "advanced",
) -> None:
    """Run the simulated market in the foreground until Ctrl-C."""
    from tracker_dagster.operations.market import sim_command

    options = ["--profile", profile, "--speed", str(speed), "--plan", plan]
    if now is not None:
        options += ["--now", now]
    wanted = seed if seed is not None else _settings().sim_seed
    command = sim_command(port, wanted, *options)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the `tracker` command."""
    # A polite kill ends like Ctrl-C: children are stopped, the run is recorded as it stands.
    signal.signal(signal.SIGTERM, _interrupt)
    if os.environ.get("TRACKER_HOME"):
        Path(os.environ["TRACKER_HOME"]).mkdir(parents=True, exist_ok=True)
    try:
        app()
    except KeyboardInterrupt:
        problems.print("interrupted")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()

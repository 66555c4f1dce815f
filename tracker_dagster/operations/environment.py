"""The place to work in: data folders, ``.env``, Dagster's home and its ``dagster.yaml``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

ENV_FILE = ".env"
DAGSTER_YAML = "dagster.yaml"
#: What a process that Dagster starts must know to find the same place.
HOME_VARIABLES = ("DAGSTER_HOME", "TRACKER_HOME")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_HEADING = "# Written by `tracker init`; your own lines in this file are kept."


def assignments(text: str) -> dict[str, str]:
    """Variables that a ``.env`` file sets, unquoted; the last line of a name wins."""
    found = {}
    for line in text.splitlines():
        if match := _ASSIGNMENT.match(line):
            name, value = match[1], match[2]
            found[name] = value[1:-1] if value[:1] in "'\"" and value[-1:] == value[:1] else value
    return found


def adopt_env_file(home: Path) -> None:
    """Take ``DAGSTER_HOME`` from ``home/.env`` into this process, unless it is set already.

    Settings read the file themselves; Dagster and child processes read only the environment.
    """
    path = home / ENV_FILE
    if "DAGSTER_HOME" not in os.environ and path.is_file():
        value = assignments(path.read_text(encoding="utf-8")).get("DAGSTER_HOME", "")
        if value and Path(value).is_absolute():
            os.environ["DAGSTER_HOME"] = value


def choose_database(path: Path, home: Path) -> None:
    """Make ``path`` the database of this process and its children, with all that belongs to it.

    Reports, captures and Dagster's home lie in the folder of the database: what Dagster says has
    been made is true of one database only. A ``DAGSTER_HOME`` of the user's own stays when the
    folder is the usual one.
    """
    env_file = home / ENV_FILE
    written = assignments(env_file.read_text(encoding="utf-8")) if env_file.is_file() else {}
    usual = {**written, **os.environ}.get("TRACKER_DATA_DIR") or home / "data"
    folder = path.expanduser().resolve().parent
    if folder != Path(usual).expanduser().resolve():
        os.environ["DAGSTER_HOME"] = str(folder / "dagster")
    os.environ["TRACKER_DATA_DIR"] = str(folder)
    os.environ["TRACKER_DB_PATH"] = str(folder / path.name)


def write_env_file(home: Path, data_dir: Path) -> list[str]:
    """Make ``home/.env`` name both homes by absolute paths; every other line stays as it is.

    A line that points into a folder the checkout was moved from is corrected; a ``DAGSTER_HOME``
    of the user's own is kept.

    Returns:
        Names of the variables that were added or corrected.
    """
    path = home / ENV_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    present = assignments(text)
    wanted = {
        "DAGSTER_HOME": str((data_dir / "dagster").resolve()),
        "TRACKER_HOME": str(home.resolve()),
    }
    former = present.get("TRACKER_HOME")
    own = present.get("DAGSTER_HOME")
    moved = former is not None and former != wanted["TRACKER_HOME"]
    if own and Path(own).is_absolute() and not (moved and Path(own).is_relative_to(str(former))):
        wanted["DAGSTER_HOME"] = own
    changed = [name for name in HOME_VARIABLES if present.get(name) != wanted[name]]
    if not changed:
        return []
    kept = [
        line
        for line in text.splitlines()
        if not ((match := _ASSIGNMENT.match(line)) and match[1] in changed)
    ]
    heading = [] if _HEADING in kept else [_HEADING]
    lines = [*kept, *heading, *(f"{name}={_quoted(wanted[name])}" for name in changed)]
    home.mkdir(parents=True, exist_ok=True)
    # The file may hold keys: nobody else reads it, and it is never half written.
    unfinished = path.with_name(f"{ENV_FILE}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write("\n".join(lines) + "\n")
    if path.exists():
        unfinished.chmod(path.stat().st_mode & 0o777)
    unfinished.replace(path)
    return changed


def _quoted(value: str) -> str:
    return value if shlex.quote(value) == value else f'"{value}"'


def prepare_place(settings: Settings) -> Path:
    """Make the data folders and Dagster's home, and name it in this process's environment.

    Returns:
        Dagster's home.
    """
    home = settings.dagster_home.expanduser().resolve()
    for folder in (settings.raw_dir, settings.reports_dir, settings.run_dir, home):
        folder.mkdir(parents=True, exist_ok=True)
    instance_settings = home / DAGSTER_YAML
    if not instance_settings.exists():
        instance_settings.write_text(dagster_yaml(), encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return home


def dagster_yaml() -> str:
    """The packaged instance settings."""
    return files("tracker_dagster.operations").joinpath(DAGSTER_YAML).read_text(encoding="utf-8")


def child_environment(settings: Settings, home: Path) -> Mapping[str, str]:
    """The environment of a child that must find the same place and the same market."""
    return {
        **os.environ,
        "TRACKER_HOME": str(home),
        "DAGSTER_HOME": str(settings.dagster_home.expanduser().resolve()),
    }

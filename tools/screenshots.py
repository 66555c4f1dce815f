"""Takes docs/pictures: the lineage and one asset page, in headless Chromium on a demo home.

Not part of any test. Needs Debian's ``chromium``; builds its own home, market and webserver, and
ends all of them.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from websockets.sync.client import ClientConnection, connect

from tracker_dagster.marketsim import MarketSim
from tracker_dagster.operations.market import free_port
from tracker_dagster.operations.supervision import UpError, dagster_dev, wait_for_location
from tracker_dagster.trading_calendar import current_session

REPOSITORY = Path(__file__).parents[1]
PICTURES = REPOSITORY / "docs" / "pictures"
MOST_BYTES = 1 << 20
#: Groups of the graph, all of which are shown open.
GROUPS = (
    *("analytics", "book", "captures", "decisions", "ledger"),
    *("market", "reference", "reports", "sources"),
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class ScreenshotError(RuntimeError):
    """No picture could be taken; the message says what to do."""


class Page:
    """One tab, driven over Chromium's own debugging protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def size(self, width: int, height: int) -> None:
        """Make the page as large as a screen of so many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") != number:
                continue
            if "error" in answer:
                raise ScreenshotError(f"{method}: {answer['error'].get('message')}")
            result: dict[str, Any] = answer["result"]
            return result

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def open(self, url: str, words: tuple[str, ...], timeout: float = 60.0) -> None:
        """Go to ``url`` and wait until all ``words`` are shown and the page is at rest."""
        self.call("Page.navigate", url=url)
        self.wait(words, timeout)

    def wait(self, words: tuple[str, ...], timeout: float = 60.0) -> None:
        """Wait until all ``words`` are shown and nothing changes any more.

        Raises:
            ScreenshotError: they are not shown in time.
        """
        deadline = time.monotonic() + timeout
        before = ""
        while time.monotonic() < deadline:
            text = str(self.evaluate("document.body ? document.body.innerText : ''") or "")
            if all(word in text for word in words) and text == before:
                time.sleep(1.0)
                return
            before = text
            time.sleep(1.0)
        missing = [word for word in words if word not in before]
        raise ScreenshotError(f"the page does not show {', '.join(missing)}; it shows:\n{before}")

    def click(self, selector: str) -> None:
        """Click what a CSS selector finds.

        Raises:
            ScreenshotError: nothing.
        """
        self._click(f"document.querySelector({json.dumps(selector)})", selector)

    def click_words(self, words: str) -> None:
        """Click the innermost thing that says just this.

        Raises:
            ScreenshotError: nothing does.
        """
        found = f"e => e.innerText && e.innerText.trim() === {json.dumps(words)}"
        self._click(f"[...document.querySelectorAll('*')].filter({found}).pop()", words)

    def _click(self, found: str, what: str) -> None:
        script = f"""(() => {{
          const found = {found};
          const target = found && (found.closest('button, a, [role=button]') || found);
          if (target) target.click();
          return Boolean(target);
        }})()"""
        if not self.evaluate(script):
            raise ScreenshotError(f"there is nothing to click for {what!r}")

    def picture(self) -> bytes:
        """What the page shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def find_chromium() -> str:
    """Path of the browser.

    Raises:
        ScreenshotError: there is none.
    """
    for name in ("chromium", "chromium-browser"):
        if found := shutil.which(name):
            return found
    raise ScreenshotError("chromium is not installed: apt-get install chromium")


@contextmanager
def browser(program: str) -> Iterator[Page]:
    """A tab of a fresh headless browser for the body."""
    with tempfile.TemporaryDirectory() as profile:
        child = subprocess.Popen(
            [
                program,
                *FLAGS,
                f"--user-data-dir={profile}",
                "--remote-debugging-address=127.0.0.1",
                "--remote-debugging-port=0",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_tab_address(child, Path(profile)), max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _tab_address(child: subprocess.Popen[bytes], profile: Path) -> str:
    """WebSocket address of the browser's first tab."""
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ScreenshotError(f"chromium ended with code {child.returncode}")
        lines = port_file.read_text().split() if port_file.is_file() else []
        if len(lines) == 2:
            return _first_tab(int(lines[0]))
        time.sleep(0.1)
    raise ScreenshotError("chromium did not open its debugging port within a minute")


def _first_tab(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            for target in json.load(answer):
                if target["type"] == "page":
                    return str(target["webSocketDebuggerUrl"])
        time.sleep(0.2)
    raise ScreenshotError("chromium opened no tab")


def save(picture: bytes, path: Path, width: int | None = None) -> None:
    """Write a picture, ``width`` pixels wide, of at most a mebibyte, if need be in fewer colours.

    Raises:
        ScreenshotError: it stays larger.
    """
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if width is not None:
        height = round(image.height * width / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    content = _png(image)
    if len(content) > MOST_BYTES:
        content = _png(image.quantize(256, dither=Image.Dither.NONE))
    if len(content) > MOST_BYTES:
        raise ScreenshotError(f"{path.name} has {len(content)} bytes, more than a mebibyte")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(
        f"{path.relative_to(REPOSITORY)}: {image.width}×{image.height}, {path.stat().st_size} bytes"
    )


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def build_demo(home: Path, environment: dict[str, str]) -> None:
    """A home with a month of the simulated market, as `make demo` makes it."""
    command = [sys.executable, "-m", "tracker_dagster.cli", "demo"]
    done = subprocess.run(command, cwd=home, env=environment, check=False)
    if done.returncode:
        raise ScreenshotError(f"`tracker demo` ended with code {done.returncode}")


def take_pictures(page: Page, url: str, session: date) -> None:
    """The lineage of the whole graph, and the page of one asset with a partition's metadata."""
    page.size(2560, 1440)
    page.open(f"{url}/asset-groups", ("decisions", "reports"))
    # From top to bottom the graph fits a screen; the choice is kept in the browser.
    page.evaluate("localStorage.setItem('asset-graph-direction', JSON.stringify('vertical'))")
    page.evaluate("localStorage.setItem('dagster-nav-collapsed', 'true')")
    expanded = quote(",".join(f"global@global:{group}" for group in GROUPS))
    page.open(f"{url}/asset-groups?expanded={expanded}", ("decisions", "reports"))
    page.click("[aria-label=panel_show_right]")
    page.wait(("summary", "option_day_aggs", "massive_flat_files"))
    save(page.picture(), PICTURES / "lineage.png", width=1800)
    page.size(1500, 950)
    page.open(
        f"{url}/assets/weekly_picks?view=partitions&partition={session}",
        ("weekly_picks", "Materialized", "annualised_yield", "[Show Markdown]"),
    )
    page.click_words("[Show Markdown]")
    page.wait((f"{session}", "Close"))
    save(page.picture(), PICTURES / "asset.png")


def main() -> int:
    """Build or reuse a home, start the webserver, take the pictures; 1 when that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a home that has run `tracker demo` already")
    options = parser.parse_args()
    try:
        program = find_chromium()
        with tempfile.TemporaryDirectory() as folder, MarketSim() as sim:
            home = (options.home or Path(folder)).resolve()
            environment = {
                **os.environ,
                "TRACKER_HOME": str(home),
                "DAGSTER_HOME": str(home / "data" / "dagster"),
                "TRACKER_SIM_URL": sim.url,
                "DAGSTER_DISABLE_TELEMETRY": "yes",
            }
            if not options.home:
                build_demo(home, environment)
            session = current_session(sim.simulation.clock.now())
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            with dagster_dev(REPOSITORY / "workspace.yaml", home, port, environment) as child:
                wait_for_location(url, lambda: child.poll() is None)
                with browser(program) as page:
                    take_pictures(page, url, session)
    except (ScreenshotError, UpError) as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Takes the pictures of the documentation: the large demonstration, in a browser of this system.

python -m tests.browser.screenshots [DIRECTORY] [--all]

Without --all, those that the documentation shows; with it, each page at each width and in each
color scheme, to look at.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, sync_playwright

from tests.browser.serving import CHROMIUM, FLAGS, serving
from waxlocal.cli.large_demo import record_large
from waxlocal.cli.scenarios.unusual import FAILED_SUB_AGENT, SLOW
from waxlocal.queries import get_session
from waxlocal.search.building import bring_up_to_date
from waxlocal.storage.connection import reader, writer

__all__ = ["Picture", "all_pictures", "main", "shown", "take"]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SESSIONS = 3_000
SIZES = {1440: 900, 390: 844}
SCHEMES = ("light", "dark")
# `{run}` is the run of a turn with sub-agents.
PAGES = {
    "sessions": "/",
    "session": f"/sessions/{FAILED_SUB_AGENT}",
    "slow-session": f"/sessions/{SLOW}",
    "run": "/runs/{run}",
    "search": "/search?q=%22refund+within+14+days%22",
    "analytics": "/analytics",
    "users": "/users",
    "user": "/users/user-42",
    "errors": "/errors",
    "models": "/models",
    "sync": "/sync",
}
# What the documentation shows at 1440 pixels, in light colors; and what else.
_WIDE = ("sessions", "session", "run", "search", "analytics", "users", "errors", "sync")


class Picture(NamedTuple):
    """A page at a width, in a color scheme."""

    page: str
    width: int = 1440
    scheme: str = "light"

    @property
    def file_name(self) -> str:
        """`session.png`, `session-390.png`, `session-dark.png`, `session-390-dark.png`."""
        width = "" if self.width == 1440 else f"-{self.width}"
        return f"{self.page}{width}{'-dark' if self.scheme == 'dark' else ''}.png"


def shown() -> Iterator[Picture]:
    """Yield what the documentation shows."""
    yield from map(Picture, _WIDE)
    yield Picture("session", scheme="dark")
    yield Picture("sessions", 390)
    yield Picture("session", 390)
    yield Picture("analytics", 390, "dark")


def all_pictures() -> Iterator[Picture]:
    """Yield each page at each width in each color scheme."""
    for page in PAGES:
        for width in SIZES:
            for scheme in SCHEMES:
                yield Picture(page, width, scheme)


def take(directory: Path, pictures: list[Picture], sessions: int = SESSIONS) -> list[Path]:
    """Write the pictures into a directory, and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="waxlocal-") as place:
        path = Path(place) / "waxlocal.db"
        sys.argv[0] = "agents.py"  # the program that the pictures name
        record_large(path, sessions)
        _pretend_upload(path)
        while (done := bring_up_to_date(path)) is not None and not done.is_complete:
            pass
        with reader(path) as connection:
            run_id = get_session(connection, FAILED_SUB_AGENT).runs[0].run_id
        with serving(path) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
            taken = [
                _take(browser, address + PAGES[one.page].format(run=run_id), one, directory)
                for one in pictures
            ]
            browser.close()
    return taken


def _take(browser: Browser, address: str, picture: Picture, directory: Path) -> Path:
    tab = browser.new_page(
        viewport={"width": picture.width, "height": SIZES[picture.width]},
        color_scheme="dark" if picture.scheme == "dark" else "light",
        timezone_id="UTC",
    )
    tab.goto(address)
    while tab.locator(".waiting").count():
        tab.locator(".waiting").first.wait_for(state="detached")
    path = directory / picture.file_name
    tab.screenshot(path=path)
    tab.close()
    return path


def _pretend_upload(path: Path) -> None:
    """Write down an upload to a hub, as the daemon would have: all but two runs."""
    with writer(path) as connection:
        runs = [row[0] for row in connection.execute("SELECT run_id FROM runs ORDER BY id")]
        at, before = connection.execute(
            "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 minutes'),"
            " strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-9 minutes')"
        ).fetchone()
        connection.execute(
            "INSERT INTO targets (target_id, url, cursor, delivered, last_attempt_at,"
            " last_success_at) SELECT 1, 'https://hub.shop.example', max(id), ?, ?, ? FROM runs",
            (len(runs) - 3, at, at),
        )
        for number, run_id in enumerate(runs):
            state = {5: "parked", len(runs) - 1: "pending", len(runs) - 2: "pending"}.get(
                number, "delivered"
            )
            reason = "413: the body has more than 16,777,216 bytes" if state == "parked" else None
            connection.execute(
                "INSERT INTO deliveries (run_id, target_id, state, reason) VALUES (?, 1, ?, ?)",
                (run_id, state, reason),
            )
            if state != "pending" and number not in range(6, len(runs) - 40):
                connection.execute(
                    "INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state,"
                    " positions, body, bytes, attempts, status, reason, first_attempt_at,"
                    " last_attempt_at)"
                    " VALUES"
                    " (?, 1, 'bulk', 0, ?, ?, '[1,2]', NULL, ?, 1, ?, ?, ?, ?)",
                    (run_id, f"key-{number}", state, 1_840 + 211 * (number % 60),
                     413 if reason else 200, reason, before, at),
                )  # fmt: skip


def main() -> None:
    """Take the pictures."""
    places = [given for given in sys.argv[1:] if given != "--all"]
    pictures = list(all_pictures() if "--all" in sys.argv[1:] else shown())
    for path in take(Path(places[0]) if places else IMAGES, pictures):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

"""Takes the pictures of the documentation: the demonstration, in a browser of this system.

python -m tests.browser.screenshots [DIRECTORY]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.serving import CHROMIUM, FLAGS, serving
from waxlocal.cli.demo_recording import record_demo
from waxlocal.prices.table import price_pending
from waxlocal.queries import get_session
from waxlocal.storage.connection import reader, writer

__all__ = ["main", "take"]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LONG_TALK = "sess_00000000000de307"
SLOW_TALK = "sess_00000000000de305"
WIDE = {"width": 1440, "height": 900}


def take(directory: Path) -> list[Path]:
    """Write the five pictures into a directory, and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="waxlocal-") as place:
        path = Path(place) / "demo.db"
        sys.argv[0] = "library_desk.py"  # the program that the pictures name
        record_demo(path)
        price_pending(path)
        _pretend_upload(path)
        with reader(path) as connection:
            run_id = get_session(connection, SLOW_TALK).runs[0].run_id
        pages = {
            "sessions": "/",
            "session": f"/sessions/{LONG_TALK}",
            "run": f"/runs/{run_id}",
            "analytics": "/analytics",
            "sync": "/sync",
        }
        with serving(path) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
            tab = browser.new_page(viewport=WIDE, color_scheme="light")  # type: ignore[arg-type]
            for name, where in pages.items():
                tab.goto(address + where)
                tab.locator(".waiting").first.wait_for(state="detached")
                tab.screenshot(path=directory / f"{name}.png")
            browser.close()
    return [directory / f"{name}.png" for name in pages]


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
            " last_success_at) SELECT 1, 'https://hub.library.example', max(id), ?, ?, ? FROM runs",
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
            if state != "pending":
                connection.execute(
                    "INSERT INTO requests (run_id, target_id, stage, part, idempotency_key, state,"
                    " positions, body, bytes, attempts, status, reason, first_attempt_at,"
                    " last_attempt_at)"
                    " VALUES"
                    " (?, 1, 'bulk', 0, ?, ?, '[1,2]', NULL, ?, 1, ?, ?, ?, ?)",
                    (run_id, f"key-{number}", state, 1_840 + 211 * number,
                     413 if reason else 200, reason, before, at),
                )  # fmt: skip


def main() -> None:
    """Take the pictures."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    for path in take(directory):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

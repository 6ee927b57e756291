"""A file behind a symbolic link: everything that belongs to it stands beside the file itself."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, count, rows
from tests.tools.cli import answer
from tests.tools.patience import PATIENCE_S
from waxlocal import WaxellContext
from waxlocal.cli.demo_recording import WORKFLOW, make_room
from waxlocal.recording.recorder import configure, current_recorder
from waxlocal.storage.checkpoint import Checkpointer
from waxlocal.storage.connection import checkpointer, open_writer
from waxlocal.storage.log_file import log_size
from waxlocal.storage.log_keeper import LogKeeper
from waxlocal.storage.paths import beside, file_size, real_path
from waxlocal_daemon.metrics import read_figures

KIB = 1024


def _file(link: Path, real: Path) -> None:
    link.symlink_to(real)
    open_writer(real).close()


def _nothing_yet(link: Path, real: Path) -> None:
    link.symlink_to(real)


def _relative(link: Path, real: Path) -> None:
    link.symlink_to(os.path.relpath(real, link.parent))


def _two_links(link: Path, real: Path) -> None:
    link.with_name("between").symlink_to(real)
    link.symlink_to("between")


def _directory(link: Path, real: Path) -> None:
    link.parent.rmdir()
    link.parent.symlink_to(real.parent)


LINKS = [_file, _nothing_yet, _relative, _two_links, _directory]
Make = Callable[[Path, Path], None]


@pytest.fixture(params=LINKS, ids=lambda make: make.__name__.strip("_"))
def linked(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Give a path that leads to a file through links, and the path of the file itself."""
    make: Make = request.param
    place, real = tmp_path / "home", tmp_path / "disk" / "waxlocal.db"
    place.mkdir()
    real.parent.mkdir()
    link = place / "waxlocal.db"
    make(link, real)
    return link, real


def record(runs: int) -> None:
    for _ in range(runs):
        with WaxellContext("agent", inputs={"q": "x" * 4_000}) as run:
            run.record_step("step")


def test_the_log_is_kept_short_and_measured(
    linked: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder copies the log back as it does without a link, and `health` tells its size."""
    link, real = linked
    monkeypatch.setattr(Checkpointer.look, "__defaults__", (600 * KIB,))
    monkeypatch.setattr("waxlocal.recording.store.LONG_BYTES", 600 * KIB)
    monkeypatch.setattr("waxlocal.storage.log_keeper.STOP_BYTES", 1_200 * KIB)
    monkeypatch.setattr("waxlocal.storage.log_keeper.STOP_WAIT_S", PATIENCE_S)
    monkeypatch.setattr("waxlocal.recording.store.LOOK_S", 0.0)
    configure(db=link)
    longest = 0
    for _ in range(40):
        record(10)
        log = current_recorder().store._file.log
        assert log is not None
        while log._begun.locked():
            time.sleep(0.001)
        now = current_recorder().health()
        assert now.ok
        assert now.log_bytes == beside(real, "-wal").stat().st_size == log_size(link) > 0
        longest = max(longest, now.log_bytes)
    assert 600 * KIB < longest < 3 * 600 * KIB
    assert count(real, "steps") == 400
    assert_sound(real)


def test_a_keeper_finds_the_log(linked: tuple[Path, Path]) -> None:
    """What `serve` and the daemon run beside recorders copies the log back through a link."""
    link, _real = linked
    configure(db=link)
    keeper = LogKeeper(link, lambda: checkpointer(link), limit=100 * KIB, rest=(0.001, 0.01))
    with closing(keeper):
        deadline = time.monotonic() + 60
        while file_size(link) < 400 * KIB:  # all is in the log until somebody copies it
            assert time.monotonic() < deadline
            record(1)
    assert_sound(link)


def test_all_files_are_private_and_beside_the_file(linked: tuple[Path, Path]) -> None:
    """A link that leads nowhere yet gets its file; nothing is made beside the link."""
    link, real = linked
    configure(db=link)
    record(1)
    ours = {f"waxlocal.db{ending}" for ending in ("", "-wal", "-shm")}
    assert {path.name for path in real.parent.iterdir()} == ours
    assert {stat.S_IMODE(path.stat().st_mode) for path in real.parent.iterdir()} == {0o600}
    assert link.resolve() == real
    if link.is_symlink():
        assert {path.name for path in link.parent.iterdir()} <= {"waxlocal.db", "between"}
    assert rows(real, "SELECT status FROM runs") == ["success"]


def test_sizes_are_those_of_the_file(linked: tuple[Path, Path]) -> None:
    """`waxlocal path --json` says the path as given, and the sizes of what it leads to."""
    link, real = linked
    configure(db=link)
    record(1)
    said = answer("path", db=link)
    assert said["path"] == str(link)
    assert said["wal_bytes"] == beside(real, "-wal").stat().st_size > 0
    figures = read_figures(link, "https://waxell.example", {})
    assert figures.wal_bytes == said["wal_bytes"]


def test_a_demo_is_begun_anew_behind_a_link(linked: tuple[Path, Path]) -> None:
    """Removing the earlier demo leaves no log of it, and the link where it was."""
    link, real = linked
    configure(db=link)
    with WaxellContext("agent", workflow_name=WORKFLOW):
        pass
    current_recorder().close()
    make_room(link)
    assert list(real.parent.iterdir()) == []
    record(1)
    assert link.resolve() == real
    assert count(real, "runs") == 1


def test_links_in_a_circle_are_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """The program goes on; what it recorded is kept in memory, and `health` says why."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert real_path(tmp_path / "a").parent == tmp_path
    configure(db=tmp_path / "a")
    record(1)
    now = current_recorder().health()
    assert now.in_memory > 0
    assert now.reason is not None
    (tmp_path / "a").unlink()
    (tmp_path / "b").unlink()

"""What every test starts from: a clean environment, and a file of its own."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.tools.examples import NOTHING_LEFT_OUT, examples, left_out
from tests.tools.fresh_file import lay_out
from tests.tools.web import ENGINES, using_engine
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.sdk.scope import SURROUNDINGS
from waxlocal.settings.config import Settings
from waxlocal.web.engine import Engine

# The collector would go through all that is imported and collected for the tests, again and again:
# a third of the time until the first one begins.
gc.disable()

# A deadline for each example measures how busy the machine is.
hypothesis.settings.register_profile(
    "waxlocal",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("waxlocal")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many tests run at once: half of the time, one waits for a process or a disk."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out a part where all tests are run by hand; what somebody names runs whole."""
    root = config.rootpath
    if [root / path for path in config.args] == [root / "tests"]:
        left = left_out([item.nodeid for item in items])
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
        items[:] = [item for item in items if item.nodeid not in left]


def pytest_collection_finish() -> None:
    """Let the collector work again, for the tests."""
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test fail that is left out, or expected to fail, where everything was promised: in CI.

    `WAXLOCAL_REQUIRE=all` promises it: the browser, `systemd-analyze`, namespaces, ...
    """
    report = yield
    if report.skipped and NOTHING_LEFT_OUT:
        report.outcome = "failed"
        report.longrepr = f"left out, in spite of WAXLOCAL_REQUIRE=all: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def home_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the user's settings and files from all tests, and from what they share and start.

    At the end nothing may have been recorded there: a test that forgets to name its file writes
    into that of the user.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("WAX", "XDG_")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield
    assert [path for path in home.rglob("*") if "wax" in path.name] == []


@pytest.fixture(scope="session", autouse=True)
def heard_signals() -> None:
    """Let programs that tests start end by Ctrl-C, also where the tests run behind a shell's `&`.

    There SIGINT is ignored, after `nohup` SIGHUP, and whatever is started inherits that.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give each test a state directory of its own, and take away what it leaves.

    That is a recorder, and the run that it is in: all tests of a process share one context.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    _put_away(use_recorder(None))
    yield
    _put_away(use_recorder(None))
    for left in SURROUNDINGS:
        left.set(None)


def _put_away(recorder: Recorder | None) -> None:
    if recorder is not None:
        recorder.open_runs.clear()
        recorder.close()


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.parser)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Serve by each parser and loop; for whole modules that say `usefixtures("engine")`.

    A server that a module shares must ask for it, or both are served by the first.
    """
    with using_engine(request.param):
        yield request.param


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    """Return where the test's file will be; nothing is there yet."""
    return tmp_path / "waxlocal.db"


@pytest.fixture
def nothing_there(db_path: Path, recorder: Recorder) -> None:
    """Let the SDK find no file, as on its first day."""
    db_path.unlink()


@pytest.fixture
def recorder(db_path: Path) -> Iterator[Recorder]:
    """Let the SDK record into the test's file, which is there already, and empty."""
    lay_out(db_path)
    made = Recorder(Settings(db=db_path))
    before = use_recorder(made)
    yield made
    use_recorder(before)
    made.close()

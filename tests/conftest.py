"""What every test starts from: a clean environment, and a file of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Hide the user's settings and files, and take away the recorder that a test leaves."""
    for name in list(os.environ):
        if name.startswith("WAX"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    _put_away(use_recorder(None))
    yield
    _put_away(use_recorder(None))


def _put_away(recorder: Recorder | None) -> None:
    if recorder is not None:
        recorder.open_runs.clear()
        recorder.close()


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    """Return where the test's file will be; nothing is there yet."""
    return tmp_path / "waxlocal.db"


@pytest.fixture
def recorder(db_path: Path) -> Iterator[Recorder]:
    """Let the SDK record into the test's file."""
    made = Recorder(Settings(db=db_path))
    before = use_recorder(made)
    yield made
    use_recorder(before)
    made.close()

"""Something is done once a module was imported, and nothing is imported for that."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tools.patience import PATIENCE_S
from waxlocal.capture import import_hooks
from waxlocal.capture.import_hooks import after_import, forget

_FOLDER: list[Path] = []
NAMES = ("waxlocal_test_late", "waxlocal_test_late.part", "waxlocal_test_broken")


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three modules that nobody has imported: a package, a part of it, and one that fails."""
    package = tmp_path / "waxlocal_test_late"
    _FOLDER[:] = [package]
    package.mkdir()
    (package / "__init__.py").write_text("'''A package.'''\nVALUE = 1\n")
    (package / "part.py").write_text("VALUE = 2\n")
    (tmp_path / "waxlocal_test_broken.py").write_text("raise ZeroDivisionError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in (*NAMES, "waxlocal_test_events", "waxlocal_test_acting"):
        forget(name)
        sys.modules.pop(name, None)


def _write(text: str) -> None:
    """Let the package be another one."""
    (_FOLDER[0] / "__init__.py").write_text(f"{text}\n")


def test_it_is_done_after_the_import_and_once() -> None:
    """When the module is whole."""
    seen: list[int] = []
    after_import(NAMES[0], lambda: seen.append(sys.modules[NAMES[0]].VALUE))
    assert seen == []
    assert NAMES[0] not in sys.modules
    __import__(NAMES[0])
    __import__(NAMES[0])
    assert seen == [1]


def test_of_a_module_that_is_imported_already_it_is_done_at_once() -> None:
    """The order of `init()` and imports makes no difference."""
    __import__(NAMES[0])
    seen: list[str] = []
    after_import(NAMES[0], lambda: seen.append("done"))
    assert seen == ["done"]


def test_parts_of_a_package_are_waited_for_by_themselves() -> None:
    """The package alone is not the part."""
    seen: list[str] = []
    after_import(NAMES[1], lambda: seen.append("part"))
    __import__(NAMES[0])
    assert seen == []
    __import__(NAMES[1])
    assert seen == ["part"]


def test_an_import_that_fails_fails_as_without_us() -> None:
    """And what waits goes on waiting."""
    seen: list[str] = []
    after_import(NAMES[2], lambda: seen.append("done"))
    with pytest.raises(ZeroDivisionError):
        __import__(NAMES[2])
    assert seen == []
    with pytest.raises(ModuleNotFoundError, match="waxlocal_test_missing"):
        __import__("waxlocal_test_missing")


def test_the_module_keeps_its_own_loader() -> None:
    """Whoever asks for its source or its resources finds what is there without us."""
    after_import(NAMES[0], lambda: None)
    module = __import__(NAMES[0])
    assert module.__spec__ is not None
    assert module.__loader__ is module.__spec__.loader
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert "A package" in inspect.getsource(module)


def test_a_module_that_is_only_looked_for_is_found_as_without_us() -> None:
    """Programs read the source of a package by its loader without importing it."""
    after_import(NAMES[0], lambda: None)
    spec: Any = importlib.util.find_spec(NAMES[0])
    assert "A package" in spec.loader.get_source(NAMES[0])
    assert spec.loader.is_package(NAMES[0])
    assert NAMES[0] not in sys.modules


def test_nothing_stays_in_the_path_of_imports_when_nothing_waits() -> None:
    """A program without capture imports as before."""
    after_import(NAMES[0], lambda: None)
    assert import_hooks._finder in sys.meta_path
    forget(NAMES[0])
    assert import_hooks._waiting or import_hooks._finder not in sys.meta_path


def test_threads_that_import_at_once_do_it_once() -> None:
    """Python lets one of them make the module."""
    seen: list[str] = []
    after_import(NAMES[0], lambda: seen.append("done"))
    threads = [threading.Thread(target=__import__, args=(NAMES[0],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["done"]


def test_a_module_that_another_thread_is_importing_is_waited_for() -> None:
    """`init()` may come in the middle of an import."""
    begun, go_on = threading.Event(), threading.Event()
    seen: list[int] = []
    sys.modules["waxlocal_test_events"] = ModuleType("waxlocal_test_events")
    vars(sys.modules["waxlocal_test_events"]).update(begun=begun, go_on=go_on)
    _write("import waxlocal_test_events as on; on.begun.set(); on.go_on.wait(); VALUE = 3")
    thread = threading.Thread(target=__import__, args=(NAMES[0],))
    thread.start()
    assert begun.wait(PATIENCE_S)
    after_import(NAMES[0], lambda: seen.append(sys.modules[NAMES[0]].VALUE))
    assert seen == []
    go_on.set()
    thread.join()
    assert seen == [3]
    assert inspect.getsource(sys.modules[NAMES[0]]).endswith("VALUE = 3\n")


def test_a_module_that_waits_for_itself_is_waited_for() -> None:
    """As one does that calls `init()` while it is imported."""
    waiting = "from waxlocal.capture.import_hooks import after_import"
    act = "seen = []; after_import(__name__, lambda: seen.append(VALUE))"
    _write(f"{waiting}; {act}; VALUE = 4")
    assert __import__(NAMES[0]).seen == [4]


def test_of_an_import_that_fails_in_the_middle_nothing_is_done() -> None:
    """The next import of the module is waited for."""
    seen: list[str] = []
    acting = ModuleType("waxlocal_test_acting")
    vars(acting)["wait"] = lambda: after_import(NAMES[0], lambda: seen.append("done"))
    sys.modules["waxlocal_test_acting"] = acting
    _write("import waxlocal_test_acting as on; on.wait(); 1 / 0")
    with pytest.raises(ZeroDivisionError):
        __import__(NAMES[0])
    assert seen == []
    _write("VALUE = 5  # another size: the compiled file of the one before is not taken")
    __import__(NAMES[0])
    assert seen == ["done"]

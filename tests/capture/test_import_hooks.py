"""Something is done once a module was imported, and nothing is imported for that."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from waxlocal.capture import import_hooks
from waxlocal.capture.import_hooks import after_import, forget

NAMES = ("waxlocal_test_late", "waxlocal_test_late.part", "waxlocal_test_broken")


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three modules that nobody has imported: a package, a part of it, and one that fails."""
    package = tmp_path / "waxlocal_test_late"
    package.mkdir()
    (package / "__init__.py").write_text("'''A package.'''\nVALUE = 1\n")
    (package / "part.py").write_text("VALUE = 2\n")
    (tmp_path / "waxlocal_test_broken.py").write_text("raise ZeroDivisionError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in NAMES:
        forget(name)
        sys.modules.pop(name, None)


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

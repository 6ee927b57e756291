"""`make quick` finds the tests of what was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quick import ROOT, TESTS, chosen, nearest

PACKAGES = sorted(path.parent for path in (ROOT / "waxlocal").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("waxlocal/queries/sessions.py", "queries/test_sessions.py"),
        ("waxlocal/web/pages/session.py", "web/pages/test_session.py"),
        ("waxlocal/encode.py", "test_encode.py"),
        ("daemon/waxlocal_daemon/lock.py", "daemon/test_lock.py"),
        ("tests/cli/test_errors.py", "cli/test_errors.py"),
    ],
)
def test_the_nearest_tests_come_first(path: str, first: str) -> None:
    """Those of the same name, in the folder of the same package."""
    assert nearest(path)[0] == TESTS / first


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_has_tests(package: Path) -> None:
    """A folder of the same name in `tests/`, or an entry in `ELSEWHERE`."""
    if package == ROOT / "waxlocal":
        return
    relative = package.relative_to(ROOT)
    assert nearest(str(relative / "module.py")) != []


def test_slow_tests_are_left_out_and_each_is_run_once() -> None:
    """Whatever several changed files have in common."""
    files = chosen(
        ["waxlocal/queries/sessions.py", "waxlocal/queries/texts.py", "tests/crash/files.py"]
    )
    assert len(files) == len(set(files))
    assert not any("/crash/" in name or "/browser/" in name for name in files)

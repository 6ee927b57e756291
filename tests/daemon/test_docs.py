"""The page about the daemon tells what the daemon does."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from waxlocal.cli.daemon import daemon
from waxlocal_daemon.metrics import Figures, exposition

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "daemon.md").read_text(encoding="utf-8")
SAID = re.compile(r'\b(?:event|once|_failed)\(\s*"([a-z_]+)"')


def _events() -> set[str]:
    package = ROOT / "daemon" / "waxlocal_daemon"
    return {
        name
        for path in package.glob("*.py")
        for name in SAID.findall(path.read_text(encoding="utf-8"))
    }


def test_every_event_stands_on_the_page() -> None:
    """And no other: the first column of the table names them all."""
    table = PAGE.partition("| event |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert {name for cell in first for name in re.findall(r"`([a-z_]+)`", cell)} == _events()


def test_every_figure_stands_on_the_page() -> None:
    """And no other."""
    exposed = set(re.findall(r"# TYPE (\w+)", exposition(Figures())))
    table = PAGE.partition("| metric |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(waxlocal_\w+)", table)) == exposed


@pytest.mark.parametrize("name", sorted(daemon.commands))
def test_every_option_stands_on_the_page(name: str) -> None:
    """And has a word of help."""
    for option in daemon.commands[name].params:
        if isinstance(option, click.Option) and option.name != "as_json":
            assert option.help
            assert f"`{option.opts[0]}" in PAGE or f" {option.opts[0]}" in PAGE, option.name


def test_variables_on_the_page_are_variables() -> None:
    """Each is read somewhere in the code."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for place in ("waxlocal", "daemon")
        for path in (ROOT / place).rglob("*.py")
    )
    found = set(re.findall(r"`(WAX[A-Z_]+)", PAGE))
    assert found
    assert {name for name in found if f'"{name}"' not in code} == set()

"""The page about the command tells what the command does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click
import pytest

from tests.tools.cli import commands
from waxlocal import errors

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
COMMANDS = {" ".join(words): command for words, command in commands().items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_verb_has_help_and_stands_on_the_page(name: str) -> None:
    """A verb says what it does, and has an example on the page."""
    assert COMMANDS[name].help
    assert f"waxlocal {name}" in PAGE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help_and_stands_on_the_page(name: str) -> None:
    """No option is left unsaid, neither by `--help` nor by the page."""
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert any(f"`{one}" in PAGE or f" {one}" in PAGE for one in option.opts), option.name


def test_the_exit_codes_on_the_page_are_those_of_the_errors() -> None:
    """Each error's code is in the table, and the table names the error."""
    table = {
        int(code): words for code, words in re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    }
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.ObserveError)
    ]
    assert {kind.exit_code for kind in kinds} <= set(table)
    for kind in (errors.FileLocked, errors.FileUnusable, errors.NotFound, errors.DiskFull):
        assert f"`{kind.__name__}`" in table[kind.exit_code]

"""A usage error says in one wording what is wrong, and names the help of its own command."""

from __future__ import annotations

import click
import pytest

from tests.tools.cli import commands, invoke
from waxlocal.cli import cli

UNKNOWN = "--frobnicate"


COMMANDS = {(): cli, **commands()}
OPTIONS = [
    (words, option)
    for words, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def _refused(*words: str) -> tuple[str, str]:
    """Return what is wrong, and what to try."""
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    error, hint = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert hint.startswith("Try: ")
    return error.removeprefix("Error: "), hint.removeprefix("Try: ")


def _help(words: tuple[str, ...]) -> str:
    return " ".join(("waxlocal", *words, "--help"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_said_with_the_help_of_the_command(words: tuple[str, ...]) -> None:
    """For every command and subcommand."""
    assert _refused(*words, UNKNOWN) == (f"unknown option {UNKNOWN}", _help(words))


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=str)
def test_an_option_with_or_without_a_value_by_mistake(
    words: tuple[str, ...], option: click.Option
) -> None:
    """For every option of every command: a value is missing, or there is one too many."""
    for name in option.opts:
        if option.is_flag and name.startswith("--"):
            said = f"option {name} takes no value"
            assert _refused(*words, f"{name}=1") == (said, _help(words))
        elif not option.is_flag:
            error, hint = _refused(*words, name)
            assert error.startswith(f"option {name} needs ")
            assert hint == _help(words)


@pytest.mark.parametrize(
    ("words", "option"),
    [(words, option) for words, option in OPTIONS if isinstance(option.type, click.Path)],
    ids=str,
)
def test_an_empty_path_is_refused(words: tuple[str, ...], option: click.Option) -> None:
    """It would be the current directory."""
    [name] = option.opts
    said = f"invalid value for {name}: it is empty"
    assert _refused(*words, name, "") == (said, _help(words))


@pytest.mark.parametrize(
    ("words", "said", "command"),
    [
        ("sessions one", "unexpected argument 'one'", "sessions"),
        ("daemon status one two", "unexpected argument 'one'", "daemon status"),
        ("session", "argument ID is missing", "session"),
        ("show", "argument RUN_ID is missing", "show"),
        ("run", "argument PROGRAM is missing", "run"),
        ("run --session", "option --session needs a value", "run"),
        ("completion", "argument SHELL is missing; use bash, zsh or fish", "completion"),
        (
            "completion tcsh",
            "invalid value for SHELL: 'tcsh' is unknown; use bash, zsh or fish",
            "completion",
        ),
        (
            "daemon run --log-format xml",
            "invalid value for --log-format: 'xml' is unknown; use logfmt or json",
            "daemon run",
        ),
        ("prices set m --input 1", "option --output is missing", "prices set"),
        (
            "prices set m --input 1 --output dear",
            "invalid value for --output: 'dear' is not a number; use a form such as 0.25",
            "prices set",
        ),
        (
            "tail -n ten",
            "invalid value for --lines: 'ten' is not a whole number; use 0 to 1,000",
            "tail",
        ),
        (
            "serve --port 65536",
            "invalid value for --port: '65536' is out of range; use 0 to 65,535",
            "serve",
        ),
        ("sql x -p name", "option -p needs NAME VALUE", "sql"),
        ("sesions", "unknown command 'sesions'; did you mean sessions?", ""),
        ("sync retri", "unknown command 'retri'; did you mean retry?", "sync"),
        ("sessions --limt 3", "unknown option --limt; did you mean --limit?", "sessions"),
        (
            "daemon",
            "a command is missing; use run, install, uninstall or status",
            "daemon",
        ),
        ("sessions --json --csv", "--json and --csv cannot be combined", "sessions"),
        ("daemon install --user ann", "--user needs --system", "daemon install"),
    ],
)
def test_what_is_wrong_and_where_the_help_is(words: str, said: str, command: str) -> None:
    """Numbers, choices, missing and unexpected arguments, names that are mistyped."""
    assert _refused(*words.split()) == (said, _help(tuple(command.split())))


def test_no_option_or_argument_has_a_type_that_click_words() -> None:
    """Its numbers, ranges, choices and checked paths have texts of their own."""
    own = (click.types.FloatParamType, click.types.IntParamType, click.types.BoolParamType)
    for words, command in COMMANDS.items():
        for param in command.params:
            flag = isinstance(param, click.Option) and param.is_flag
            assert flag or not isinstance(param.type, own), (words, param.name)
            assert type(param.type) is not click.Choice, (words, param.name)
            if isinstance(param.type, click.Path):
                assert not param.type.readable, (words, param.name)
                assert not param.type.exists, (words, param.name)

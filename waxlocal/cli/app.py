"""The root command: the list of subcommands, and how errors are printed."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, TextIO

import click

from waxlocal import escaping
from waxlocal._version import __version__
from waxlocal.cli.commands import CommandGroup
from waxlocal.cli.hints import as_typed, say_hint
from waxlocal.cli.missing import say_missing
from waxlocal.cli.target_file import db_option
from waxlocal.cli.usage_errors import message_of
from waxlocal.cli.verbs import VERBS
from waxlocal.errors import ObserveError, OutputFull

__all__ = ["cli"]

PROGRAM = "waxlocal"
# What a shell reports for a program that a closed pipe (128 + SIGPIPE) or Ctrl-C ended.
CLOSED_PIPE = 141
INTERRUPTED = 130
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Commands(CommandGroup):
    """The group of subcommands, in the order above; prints every error in the same form."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"waxlocal.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
            return answer
        except ObserveError as error:
            error.hint = as_typed(error.hint)
            raise
        except BrokenPipeError:
            _discard_output()
            ctx.exit(CLOSED_PIPE)
        except OSError as error:
            if error.errno not in NO_SPACE or error.filename is not None:
                raise
            # What the commands themselves write to are files with names.
            _discard_output()
            raise OutputFull(f"the output cannot be written: {error.strerror}") from error

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> NoReturn:
        # Python has no such stream where the caller closed it (`>&-`).
        sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        sys.stdout = _written_whole(sys.stdout)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        extra |= {"standalone_mode": False, "prog_name": PROGRAM}
        try:
            status = super().main(args, **extra)
        except ObserveError as error:
            status = _say(str(error), error.hint, error.exit_code)
        except click.ClickException as error:
            status = _say(message_of(error), _usage_hint(error), error.exit_code)
        except click.Abort:
            status = INTERRUPTED
        except ModuleNotFoundError as error:
            status = say_missing(error, "this command")
        except Exception as error:
            if os.environ.get("WAXLOCAL_DEBUG"):
                raise
            again = "run the command again with WAXLOCAL_DEBUG=1 to see the traceback"
            status = _say(f"{type(error).__name__}: {error}", again, 1)
        sys.exit(status if isinstance(status, int) else 0)


def _written_whole(stream: TextIO) -> TextIO:
    """Return a stream of which all is written, or an error raised.

    With PYTHONUNBUFFERED, common in containers, there is no buffer between the text and the file;
    Python then takes what the system wrote for all of it, though a pipe or a nearly full disk took
    a part. The buffer that takes its place is emptied with each line, or the lines on stderr would
    come before those that were written earlier.
    """
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=True)


def _discard_output() -> None:
    """Let what Python still writes at exit, from its buffer, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str, hint: str, status: int) -> int:
    click.echo(f"Error: {escaping.line(message)}", err=True)
    if hint:
        say_hint(hint)
    return status


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else PROGRAM} --help"


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Nothing recorded yet? Run waxlocal demo: it records sample conversations.",
)
@db_option
@click.version_option(__version__, message="waxlocal %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Query recorded agent runs: sessions, their cost, and where the time went."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())

"""`waxlocal doctor`: whether what a program does is captured, and what to install if not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from waxlocal import escaping, wording
from waxlocal._version import __version__
from waxlocal.capture.entry import chosen
from waxlocal.capture.installed import InstalledLibrary, install_line, installed_libraries
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.output import Column, Screen
from waxlocal.cli.target_file import TargetFile, target_file_of, writable
from waxlocal.delivery.interruption import interrupt_gone
from waxlocal.errors import (
    ConfigurationError,
    DiskFull,
    FileLocked,
    FileMissing,
    FileReadOnly,
    StorageError,
)
from waxlocal.settings.config import is_on
from waxlocal.storage.paths import may_write, mounted_alone

__all__ = ["doctor"]


@click.command(cls=Subcommand)
@form_options()
@click.pass_context
def doctor(ctx: click.Context, *, form: str) -> None:
    """Say which installed model libraries are captured, and what to install for the others.

    Looks at the Python that waxlocal is installed in, which is also the one that `waxlocal run
    app.py` uses. Imports no model library. The exit status is 2 if an installed one is not
    captured, and that of the file's error if the file to record into cannot be used. Open
    runs of a program that was killed, or that cannot be seen and is silent, are marked as
    interrupted.
    """
    target = target_file_of(ctx)
    unusable = _unusable(target)
    interrupted = 0
    if not unusable:
        interrupted, unusable = _interrupted(target.path)
    found = installed_libraries()
    missing = [one for one in found if not one.captured and not _is_left_out(one)]
    line = install_line(library.package for library in missing) if missing else ""
    said = {
        "python": sys.executable,
        "python_version": platform.python_version(),
        "waxlocal_version": __version__,
        "file": str(target.path),
        "file_error": unusable and str(unusable),
        "interrupted": interrupted,
        "file_warning": mounted_alone(target.path) or None,
        "recording": is_on("WAXELL_OBSERVE"),
        "other_python": _other_python(),
        "libraries": [_as_dict(library) for library in found],
        "install": line or None,
    }
    if form == "json":
        print_json(said)
    else:
        _show(Screen(), said, found)
    if unusable:
        raise unusable
    if missing:
        names = ", ".join(library.distribution for library in missing)
        raise ConfigurationError(f"calls of {names} are not captured", hint=line)


def _interrupted(path: Path) -> tuple[int, StorageError | None]:
    """Write down which runs were interrupted, as their programs could not.

    Return how many, and what is wrong with the file if that is found out now.
    """
    try:
        return interrupt_gone(path, all_runs=True), None
    except (FileMissing, FileReadOnly, FileLocked, DiskFull):  # none yet, or not now
        return 0, None
    except StorageError as error:
        return 0, error


def _unusable(target: TargetFile) -> StorageError | None:
    """Return why nothing can be recorded into the file; None if it can be, or can be made."""
    try:
        path = writable(target)
    except StorageError as error:
        return error
    return None if may_write(path) else FileReadOnly(f"{path} may not be written by this user")


def _as_dict(library: InstalledLibrary) -> dict[str, Any]:
    named = library._asdict()
    for name in ("supports", "outside", "outside_version"):
        named[name] = named[name] or None
    return {**named, "left_out": _is_left_out(library)}


def _is_left_out(library: InstalledLibrary) -> bool:
    return not chosen([library.library], None)


def _other_python() -> str | None:
    """Return the `python` that a shell would start, if it is that of another environment."""
    found = shutil.which("python") or shutil.which("python3")
    if found is None:
        return None
    # Not by what the links lead to: a virtual environment's Python is a link to another one.
    here, there = (Path(os.path.realpath(Path(path).parent)) for path in (sys.executable, found))
    return None if here == there else found


def _show(screen: Screen, said: dict[str, Any], found: list[InstalledLibrary]) -> None:
    python = escaping.line(said["python"])
    click.echo(f"Python    {python} ({said['python_version']})")
    click.echo(f"waxlocal  {__version__}, records into {escaping.line(said['file'])}")
    if said["interrupted"]:
        runs = wording.counted(said["interrupted"], "run")
        click.echo(f"{runs} left open by a program that has ended or is silent: interrupted")
    if said["file_warning"]:
        click.echo(escaping.line(said["file_warning"]))
    if not said["recording"]:
        click.echo("Recording is switched off by WAXELL_OBSERVE.")
    if said["other_python"]:
        other = escaping.line(said["other_python"])
        click.echo(
            f"\n`python` is another environment: {other}\n`waxlocal run app.py` runs app.py with "
            f"the Python above. If the program needs that one, install waxlocal there, too:\n"
            f"  {other} -m pip install 'waxlocal[auto]'\n  {other} -m waxlocal run app.py"
        )
    click.echo()
    if found:
        columns = [Column("Library", least=8), Column("Version"), Column("Captured by", least=12)]
        screen.write(screen.table(columns, list(map(_cells, found))))
    else:
        click.echo("No model library that waxlocal knows is installed in this Python.")
    for library in found:
        if library.supports:
            click.echo(
                f"{library.package} {library.package_version} supports {library.outside} "
                f"{library.supports}, not {library.outside_version}: values may be missing."
            )


def _cells(library: InstalledLibrary) -> list[str]:
    by = f"{library.package} {library.package_version}" if library.captured else "nothing"
    if _is_left_out(library):
        by = "left out by WAXELL_EXCLUDE"
    return [library.distribution, library.version, by]

"""Read `~/.waxell/config`: the URLs and keys that the Waxell CLI stores, one per profile."""

from __future__ import annotations

import os
import re
import shlex
import stat
from configparser import (
    ConfigParser,
    DuplicateOptionError,
    DuplicateSectionError,
    InterpolationError,
    MissingSectionHeaderError,
    ParsingError,
)
from configparser import Error as SyntaxFault
from pathlib import Path
from typing import NamedTuple

from waxlocal.errors import ConfigurationError
from waxlocal.settings.secret import Secret

__all__ = ["SHOWN_PATH", "Profile", "config_path", "load_profile", "yes_or_no"]

SHOWN_PATH = "~/.waxell/config"
# The section for `profile`, the profile that `wax config use` selected.
_CHOICE = "wax"
_WORDS = {"1": True, "true": True, "yes": True, "on": True}
_WORDS |= {"0": False, "false": False, "no": False, "off": False}


class Profile(NamedTuple):
    """One section of the file; empty if there is no file.

    `origin` names file and section, for errors; `notes` are warnings for the user. `proxy` is a URL
    that may hold a password, `ca_file` the path of the authorities that are trusted; both are for
    the server of this section only.
    """

    origin: str = ""
    api_url: str = ""
    api_key: Secret = Secret()
    allow_http: bool = False
    notes: tuple[str, ...] = ()
    proxy: Secret = Secret()
    ca_file: str = ""


def config_path(home: Path | None = None) -> Path | None:
    """Return the path of the file; None for a user without a home directory."""
    try:
        return (home or Path.home()) / ".waxell" / "config"
    except RuntimeError:
        return None


def load_profile(name: str = "", *, named_by: str = "", home: Path | None = None) -> Profile:
    """Return a profile of the file.

    Without a name, the profile named by `[wax] profile`, else `[default]`, else the first. A named
    profile must exist: another tenant's key must not take its place. `named_by` is where the name
    comes from, for the error. Raises `ConfigurationError`, with file and line where known.
    """
    named_by = named_by or "the argument"
    path = config_path(home)
    file = _File.read(path) if path else None
    if file is None:
        if name:
            raise ConfigurationError(
                f"{named_by} names the profile {name!r}, but {SHOWN_PATH} does not exist",
                hint=f"create that file, or remove {named_by}",
            )
        return Profile()
    section = _section(file, name, named_by)
    return _profile(file, section) if section else Profile(notes=file.notes)


def yes_or_no(value: str) -> bool | None:
    """Return the value of `true`, `1`, `yes`, `on` or an opposite; None for any other text."""
    return _WORDS.get(value.strip().lower())


class _File:
    """The parsed file. Its `repr` hides the text: tracebacks may print local variables."""

    def __init__(self, path: Path, text: str, notes: tuple[str, ...]) -> None:
        self.path = path
        self.notes = notes
        self._text = text
        self._parser = ConfigParser()

    @classmethod
    def read(cls, path: Path) -> _File | None:
        """Read and parse the file; None if it does not exist."""
        fault = ""
        try:
            with path.open(encoding="utf-8-sig") as opened:
                notes = _mode_notes(os.fstat(opened.fileno()).st_mode)
                file = cls(path, opened.read(), notes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            fault = f"cannot read {path}: {error.strerror}"
        except UnicodeDecodeError:
            fault = f"{path} is not UTF-8 text"
        # Raise outside the handlers, here and below: the caught errors contain text of the file.
        if fault:
            raise ConfigurationError(fault, hint=f"check it: ls -l {shlex.quote(str(path))}")
        file._parse()
        return file

    def _parse(self) -> None:
        try:
            self._parser.read_string(self._text)
            return
        except SyntaxFault as error:
            line, what = _syntax_fault(error)
        raise ConfigurationError(
            f"{self.path}:{line}: {what}",
            hint="write lines like: [profile], api_url = ..., api_key = ...",
        )

    def profiles(self) -> list[str]:
        """Return the names of the profiles, in file order."""
        return [section for section in self._parser.sections() if section != _CHOICE]

    def value(self, section: str, option: str) -> str:
        """Return an option; '' if it is not set."""
        if not self._parser.has_section(section):
            return ""
        try:
            return self._parser.get(section, option, fallback="").strip()
        except InterpolationError:  # a % in a key is literal
            return self._parser.get(section, option, raw=True).strip()

    def place(self, section: str, option: str) -> str:
        """Return `file:line` of an option."""
        inside = ""
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := re.match(r"\[(.+)\]", line):
                inside = header[1]
            elif inside == section and re.match(rf"\s*{option}\s*[=:]", line, re.IGNORECASE):
                return f"{self.path}:{number}"
        return str(self.path)


def _mode_notes(mode: int) -> tuple[str, ...]:
    if os.name == "nt" or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return ()
    return (f"other users can read {SHOWN_PATH}: chmod 600 {SHOWN_PATH}",)


def _syntax_fault(error: SyntaxFault) -> tuple[int, str]:
    """Return the line number and the problem, without the line itself: it may contain the key."""
    if isinstance(error, MissingSectionHeaderError):  # a kind of ParsingError
        return error.lineno, "a setting precedes the first [profile]"
    if isinstance(error, DuplicateOptionError):
        return error.lineno or 1, f"{error.option} is set twice in [{error.section}]"
    if isinstance(error, DuplicateSectionError):
        return error.lineno or 1, f"[{error.section}] appears twice"
    if isinstance(error, ParsingError) and error.errors:
        return error.errors[0][0], "the line is not name = value"
    return 1, "cannot be parsed"


def _section(file: _File, name: str, named_by: str) -> str:
    """Return the section to use; '' if the file has no profile."""
    profiles = file.profiles()
    if not name:
        name, named_by = file.value(_CHOICE, "profile"), f"[{_CHOICE}] profile"
    if not name:
        return "default" if "default" in profiles else next(iter(profiles), "")
    if name in profiles:
        return name
    raise ConfigurationError(
        f"{file.path} has no profile [{name}], which {named_by} names",
        hint=f"its profiles are: {', '.join(profiles)}" if profiles else "it has no profiles",
    )


def _profile(file: _File, section: str) -> Profile:
    key = Secret.unchecked(file.value(section, "api_key")).checked(file.place(section, "api_key"))
    said = file.value(section, "allow_http")
    allowed = yes_or_no(said or "no")
    if allowed is None:
        place = file.place(section, "allow_http")
        raise ConfigurationError(f"{place}: allow_http is {said!r}", hint="write true or false")
    origin, url = f"{SHOWN_PATH} [{section}]", file.value(section, "api_url")
    proxy, authorities = file.value(section, "proxy"), file.value(section, "ca_file")
    if authorities:
        authorities = str(file.path.parent / Path(authorities).expanduser())
    return Profile(origin, url, key, allowed, file.notes, Secret.unchecked(proxy), authorities)

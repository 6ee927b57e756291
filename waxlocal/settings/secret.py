"""API keys that never appear in output, logs or tracebacks; and key files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from waxlocal.errors import ConfigurationError

__all__ = ["Secret", "read_key_file"]

# An HTTP header can carry Latin-1 only.
_LAST_CHARACTER = "\xff"
_LEAST_SECRET = 8
# No key is longer than this; a larger file is not a key file.
MAX_KEY_BYTES = 8_192
_ONLY_THE_KEY = "the file must contain only the key"
_PUT_IT_THERE = "write the key into that file, for you alone to read, and nothing else"


class Secret:
    """A key; printing, logging or inspecting it shows only whether it is set.

    Strips white space: files end in a newline, and pasted text may end in a space. Equal to a
    secret or a string of the same characters, compared in constant time. False if empty. Raises
    `ConfigurationError`, without showing the key, for characters that an HTTP header cannot carry.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret = "") -> None:
        self._text = _stripped(text)
        if fault := _fault(self._text):
            # A tool that prints the local variables of a traceback must not find it there.
            del text
            raise ConfigurationError(fault, hint="copy the key again, as plain text")

    @classmethod
    def unchecked(cls, text: str | Secret) -> Secret:
        """Return a key without validating it; `checked` does so later."""
        kept = cls()
        kept._text = _stripped(text)
        return kept

    def checked(self, origin: str = "") -> Secret:
        """Return this key; raises `ConfigurationError`, naming the origin, if it is invalid."""
        if fault := _fault(self._text):
            where = f"{origin}: " if origin else ""
            raise ConfigurationError(where + fault, hint="copy the key again, as plain text")
        return self

    def reveal(self) -> str:
        """Return the key in plain text, for the one place that sends it."""
        return self._text

    def header(self) -> bytes:
        """Return the key as bytes for an HTTP header."""
        return self._text.encode("latin-1")

    def hidden_in(self, text: str) -> str:
        """Return a foreign text with the key removed, in case it repeats the key.

        A key of a few characters stays: it is not a secret, and would match inside other words.
        """
        known = len(self._text) >= _LEAST_SECRET
        return text.replace(self._text, "(the key)") if known else text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret | str):
            return NotImplemented
        import hmac  # 5 ms, which `import waxlocal` need not pay

        return hmac.compare_digest(_bytes(self._text), _bytes(_stripped(other)))

    def __repr__(self) -> str:
        return "Secret(set)" if self._text else "Secret(not set)"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a key cannot be serialized")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a key cannot be serialized")


def read_key_file(path: Path, *, how_to_make_it: str = _PUT_IT_THERE) -> Secret:
    """Return the key from a file or pipe.

    Raises `ConfigurationError` for a file that every user can read, that cannot be read, or that
    does not contain a key. Only where the file is missing or empty does the error say
    `how_to_make_it`: what makes a key file would overwrite any other.
    """
    fault, hint = "", _ONLY_THE_KEY
    key = Secret()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # Files from systemd credentials, `mktemp` or umask 077 are not readable by others.
            if os.name != "nt" and stat.S_ISREG(mode) and mode & stat.S_IROTH:
                import shlex  # not at import: each program that records loads this module

                raise ConfigurationError(
                    f"every user can read the key file {path}",
                    hint=f"chmod 600 {shlex.quote(str(path))}",
                )
            content = file.read(MAX_KEY_BYTES + 1)
            hint = _ONLY_THE_KEY if content else how_to_make_it
            key = Secret.unchecked(_decoded(content))
    except OSError as error:
        fault = f"cannot read the key file {path}: {error.strerror}"
        hint = how_to_make_it if isinstance(error, FileNotFoundError) else _ONLY_THE_KEY
    if not fault and not key:
        fault = f"the key file {path} is empty or too large for a key"
    if fault:
        raise ConfigurationError(fault, hint=hint)
    return key.checked(str(path))


def _decoded(content: bytes) -> str:
    return "" if len(content) > MAX_KEY_BYTES else content.decode("utf-8", "replace")


def _stripped(text: str | Secret) -> str:
    return text._text if isinstance(text, Secret) else text.strip()


def _bytes(text: str) -> bytes:
    # compare_digest accepts only ASCII strings; a request header may hold anything.
    return text.encode("utf-8", "surrogatepass")


def _fault(text: str) -> str:
    """Return what is wrong with a key, without showing it; '' if it is valid."""
    if any(character > _LAST_CHARACTER for character in text):
        return "the API key contains a character outside Latin-1"
    if not text.isprintable():
        return "the API key contains a control character, such as a line break"
    return ""

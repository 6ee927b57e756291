"""Keys that do not print themselves."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from waxlocal.errors import ConfigurationError

__all__ = ["Secret", "read_key_file"]

# Latin-1 is all that an HTTP header can carry.
_LAST_CHARACTER = "\xff"
_LEAST_SECRET = 8
# No key is longer; what is larger is another file.
MAX_KEY_BYTES = 8_192


class Secret:
    """A key; what prints, logs, serialises or inspects it sees only whether it is set.

    White space around it is dropped: files end in a newline, and pasted text in a blank. Equal to
    another secret, or to a text, of the same characters; the comparison takes constant time. False
    when empty. Raises `ConfigurationError`, without the key in it, for a key with characters that
    no HTTP header can carry.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret = "") -> None:
        self._text = _stripped(text)
        if fault := _fault(self._text):
            # What shows the variables of a traceback's frames must not find it there.
            del text
            raise ConfigurationError(fault, hint="copy the key once more: it is plain text")

    @classmethod
    def unchecked(cls, text: str | Secret) -> Secret:
        """Keep a key that may be unusable; `checked` tells."""
        kept = cls()
        kept._text = _stripped(text)
        return kept

    def checked(self, origin: str = "") -> Secret:
        """Return this key; raises `ConfigurationError`, naming the origin, if it is unusable."""
        if fault := _fault(self._text):
            where = f"{origin}: " if origin else ""
            raise ConfigurationError(where + fault, hint="copy the key once more: it is plain text")
        return self

    def reveal(self) -> str:
        """Return the key itself, for the one place that sends it."""
        return self._text

    def header(self) -> bytes:
        """Return the key as an HTTP header carries it."""
        return self._text.encode("latin-1")

    def hidden_in(self, text: str) -> str:
        """Return a text that somebody else wrote, without the key that they may have repeated.

        A key of a few characters is left: it is not a secret, and would be found in other words.
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
        raise TypeError("a key is not written down")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a key is not written down")


def read_key_file(path: Path, *, hint: str = "it holds the key and nothing else") -> Secret:
    """Return the key in a file; a pipe is read as it is. `hint` says how to make one.

    Raises `ConfigurationError` for a file that every user can read, that cannot be read, or that
    holds no key.
    """
    fault = ""
    key = Secret()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # systemd gives credentials to a group at most, `mktemp` and umask 077 to nobody.
            if os.name != "nt" and stat.S_ISREG(mode) and mode & stat.S_IROTH:
                raise ConfigurationError(
                    f"the key file {path} can be read by every user", hint=f"chmod 600 {path}"
                )
            key = Secret.unchecked(_decoded(file.read(MAX_KEY_BYTES + 1)))
    except OSError as error:
        fault = f"the key file {path} cannot be read: {error.strerror}"
    if not fault and not key:
        fault = f"the key file {path} holds no key, or too much for one"
    if fault:
        raise ConfigurationError(fault, hint=hint)
    return key.checked(str(path))


def _decoded(content: bytes) -> str:
    return "" if len(content) > MAX_KEY_BYTES else content.decode("utf-8", "replace")


def _stripped(text: str | Secret) -> str:
    return text._text if isinstance(text, Secret) else text.strip()


def _bytes(text: str) -> bytes:
    # compare_digest takes only ASCII as text; a header that came in may be anything.
    return text.encode("utf-8", "surrogatepass")


def _fault(text: str) -> str:
    """Say what is wrong with a key without showing it; '' when nothing is."""
    if any(character > _LAST_CHARACTER for character in text):
        return "the API key has a character that is not Latin"
    if not text.isprintable():
        return "the API key has a control character, such as a line break, in it"
    return ""

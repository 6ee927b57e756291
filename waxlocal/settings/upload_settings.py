"""Upload settings: server, key, timeouts; from arguments, `configure()`, profile, environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from waxlocal.errors import ConfigurationError
from waxlocal.settings.addresses import proxy_for, proxy_from, server_url
from waxlocal.settings.config import ObserveConfig
from waxlocal.settings.profiles import (
    SHOWN_PATH,
    Profile,
    load_profile,
    yes_or_no,
)
from waxlocal.settings.secret import Secret, read_key_file

__all__ = ["UploadSettings"]

T = TypeVar("T")
# Candidates in order of precedence, each with its origin.
_Urls = list[tuple[str, str]]
_Keys = list[tuple[str, Secret]]

KEY_FILE = "WAXLOCAL_API_KEY_FILE"
ALLOW_HTTP = "WAXLOCAL_ALLOW_HTTP"

# Field, variable, minimum and maximum; in seconds, except for the number of connections.
_NUMBERS: tuple[tuple[str, str, float, float], ...] = (
    ("open_after", "WAXLOCAL_SYNC_OPEN_AFTER", 0, 31_536_000),
    ("concurrency", "WAXLOCAL_SYNC_CONCURRENCY", 1, 256),
    ("connect_timeout", "WAXLOCAL_SYNC_CONNECT_TIMEOUT", 0.1, 300),
    ("read_timeout", "WAXLOCAL_SYNC_READ_TIMEOUT", 0.1, 600),
    ("request_timeout", "WAXLOCAL_SYNC_REQUEST_TIMEOUT", 0.1, 3_600),
    ("poll", "WAXLOCAL_SYNC_POLL", 0.1, 3_600),
)
_SWITCHES = (
    ("bulk", "WAXLOCAL_SYNC_BULK"),
    ("send_hardware_uuid", "WAXLOCAL_SYNC_HARDWARE_UUID"),
)


class UploadSettings(NamedTuple):
    """How runs are delivered; times in seconds.

    `open_after`: how long a run may stay open before its records so far are uploaded.
    `concurrency`: connections at once. `bulk`: use the bulk endpoint if the server has one.
    `request_timeout`: for each 16 KB of a request, and to the last byte of its response. `poll`:
    seconds between checks of the file if no change is announced. `proxy`, `ca_file`: those of the
    profile; without them the environment says it. `source` maps each setting that is
    not a default to its origin; `notes` are warnings for the user.
    """

    api_url: str
    api_key: Secret
    open_after: float = 3600.0
    concurrency: int = 32
    bulk: bool = True
    send_hardware_uuid: bool = False
    allow_http: bool = False
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    request_timeout: float = 60.0
    poll: float = 5.0
    source: Mapping[str, str] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    proxy: Secret = Secret()
    ca_file: str = ""

    def proxy_url(self, environ: Mapping[str, str] | None = None) -> str | None:
        """Return the URL of the proxy on the way to the server; None for a direct connection.

        That of the profile, else as `proxy_for` reads the environment. Raises `ConfigurationError`.
        """
        if not self.proxy:
            return proxy_for(self.api_url, environ)
        origin = f"{self._origin('api_url', SHOWN_PATH)}, proxy"
        return proxy_from(self.proxy.reveal(), self.api_url, origin=origin)

    @property
    def url_hint(self) -> str:
        """What to do when no Waxell API answers: it names where the URL comes from."""
        return f"check the server URL; it comes from {self._origin('api_url', '--api-url')}"

    @property
    def key_hint(self) -> str:
        """What to do when the server refuses the key: it names where the key comes from."""
        origin = self._origin("api_key", "the program")
        return f"the key comes from {origin}: put the key of this server there, or give --key-file"

    def _origin(self, name: str, argument: str) -> str:
        origin = self.source.get(name, "argument")
        return argument if origin == "argument" else origin

    @classmethod
    def load(
        cls,
        *,
        api_url: str = "",
        api_key: str | Secret = "",
        key_file: str | os.PathLike[str] = "",
        profile: str = "",
        allow_http: bool = False,
        configured: ObserveConfig | None = None,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
    ) -> UploadSettings:
        """Read the settings: arguments, `configure()`, `~/.waxell/config`, `WAXELL_*`, `WAX_*`.

        The URL comes from the first of these that sets it; so does the key.
        `WAXLOCAL_API_KEY_FILE` counts as an argument. `configured` is what the program passed to
        `configure()`; commands pass None. The file is read only if URL or key are still missing.
        Raises `ConfigurationError`, whose hint says what to type.
        """
        # Keys must not be local variables of a frame that may raise: tracebacks may show those.
        key = Secret.unchecked(api_key)
        variables = _Variables(os.environ if environ is None else environ)
        del api_key, environ
        urls: _Urls = [("argument", api_url)]
        keys: _Keys = [("argument", key), *_keys_from_files(key_file, variables)]
        if configured is not None:
            urls.append(("configure()", configured.api_url))
            keys.append(("configure()", Secret.unchecked(configured.api_key)))
        chosen = _choose(urls, keys, profile, variables, home)
        source = {"api_url": chosen.url_from, "api_key": chosen.key_from}
        allow = allow_http or _allows_http(chosen, variables)
        origin = "--api-url" if chosen.url_from == "argument" else chosen.url_from
        # Of a profile, for its own server only.
        way = chosen.profile if chosen.url_from == chosen.profile.origin else Profile()
        return cls(
            server_url(chosen.url, allow_http=allow, origin=origin),
            chosen.key.checked(chosen.key_from),
            allow_http=allow,
            notes=chosen.profile.notes,
            proxy=way.proxy,
            ca_file=way.ca_file,
            **_numbers_and_switches(variables, source),
            source=source,
        )


class _Choice(NamedTuple):
    """URL and key, their origins, and the profile that was read for them."""

    url_from: str
    url: str
    key_from: str
    key: Secret
    profile: Profile


def _choose(
    urls: _Urls, keys: _Keys, profile: str, variables: _Variables, home: Path | None
) -> _Choice:
    """Return the first URL and key: those before the profile, the profile's, those after it."""
    found = Profile()
    if profile or _first(urls) is None or _first(keys) is None:
        found = _profile(profile, variables, home)
    url = _first([*urls, (found.origin, found.api_url), *variables.urls()])
    key = _first([*keys, (found.origin, found.api_key), *variables.keys()])
    if url is None or key is None:
        raise _missing(url is None, key is None, found)
    return _Choice(*url, *key, found)


def _allows_http(chosen: _Choice, variables: _Variables) -> bool:
    said = variables.switch(ALLOW_HTTP)
    if said is None:  # a profile's allow_http applies to its own server only
        return chosen.profile.allow_http and chosen.url_from == chosen.profile.origin
    return said


class _Variables:
    """The environment; unlike a mapping, its `repr` hides the values."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        """Return a variable; '' if it is unset or blank."""
        return self._environ.get(name, "").strip()

    def urls(self) -> _Urls:
        """Return the URLs, with the names of their variables."""
        return [(name, self.text(name)) for name in ("WAXELL_API_URL", "WAX_API_URL")]

    def keys(self) -> _Keys:
        """Return the keys, with the names of their variables."""
        names = ("WAXELL_API_KEY", "WAX_API_KEY")
        return [(name, Secret.unchecked(self.text(name))) for name in names]

    def switch(self, name: str) -> bool | None:
        """Return a boolean variable; None if it is not set."""
        said = self.text(name)
        if not said:
            return None
        value = yes_or_no(said)
        if value is None:
            raise ConfigurationError(f"{name} is {said!r}", hint="write true or false")
        return value

    def number(self, name: str, least: float, most: float, *, whole: bool = False) -> float | None:
        """Return a numeric variable; None if it is not set."""
        said = self.text(name)
        if not said:
            return None
        try:
            value = float(said)
        except ValueError:
            value = float("nan")
        if not least <= value <= most or (whole and value % 1):  # the first is false for NaN
            kind = "a whole number" if whole else "a number"
            raise ConfigurationError(
                f"{name} is {said!r}", hint=f"write {kind} from {least:g} to {most:g}"
            )
        return value


def _first(candidates: list[tuple[str, T]]) -> tuple[str, T] | None:
    """Return the first candidate that is set, with its origin."""
    return next((one for one in candidates if one[1]), None)


def _profile(name: str, variables: _Variables, home: Path | None) -> Profile:
    if name:
        return load_profile(name, named_by="--profile", home=home)
    return load_profile(variables.text("WAX_PROFILE"), named_by="WAX_PROFILE", home=home)


def _numbers_and_switches(variables: _Variables, source: dict[str, str]) -> dict[str, Any]:
    """Return the other settings that are set, and note their origins in `source`."""
    values: dict[str, Any] = {}
    for field, name, least, most in _NUMBERS:
        values[field] = variables.number(name, least, most, whole=field == "concurrency")
        source[field] = name
    for field, name in _SWITCHES:
        values[field] = variables.switch(name)
        source[field] = name
    for field in [field for field, value in values.items() if value is None]:
        del values[field], source[field]
    if "concurrency" in values:
        values["concurrency"] = int(values["concurrency"])
    return values


def _keys_from_files(argument: str | os.PathLike[str], variables: _Variables) -> _Keys:
    """Return the key from the first key file that is named."""
    if path := os.fspath(argument):
        return [(path, read_key_file(Path(path)))]
    if path := variables.text(KEY_FILE):
        return [(f"{KEY_FILE} ({path})", read_key_file(Path(path)))]
    return []


def _missing(url: bool, key: bool, profile: Profile) -> ConfigurationError:
    what = "server and no API key are" if url and key else "server is" if url else "API key is"
    names = [("WAXELL_API_URL", "https://acme.waxell.dev", "api_url")] if url else []
    names += [("WAXELL_API_KEY", "wax_sk_...", "api_key")] if key else []
    exports = " ".join(f"{name}={example}" for name, example, _ in names)
    options = " and ".join(option for _, _, option in names)
    section = profile.origin.partition(" ")[2] or "[default]"
    return ConfigurationError(
        f"no {what} configured",
        hint=f"export {exports}, or put {options} under {section} in {SHOWN_PATH}",
    )

"""Recording settings and `ObserveConfig`, from the program, the environment and defaults."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from waxlocal.errors import ConfigurationError
from waxlocal.records import INTERACTION_MODES
from waxlocal.settings.secret import Secret
from waxlocal.storage.paths import database_path

__all__ = ["ObserveConfig", "Settings", "is_on", "session_over_after", "unseen_after"]

DURABILITIES = ("normal", "full")


class Settings(NamedTuple):
    """How this process records.

    `durability`: `normal` survives the death of any process; `full` also survives a power cut, but
    each record takes 4 to 10 times as long. `wait`: seconds that a record may wait for a locked
    file. `session_id` and `user_id` are those of all runs that name none and have none around them.
    `mask` gets each text before it is written, and returns what is written instead. `keep_blobs`:
    images, recordings and files in captured calls are kept whole, not as type, size and hash.
    """

    db: Path
    enabled: bool = True
    capture_content: bool = True
    durability: str = "normal"
    wait: float = 1.0
    interaction_mode: str = ""
    session_id: str = ""
    user_id: str = ""
    mask: Callable[[str], str] | None = None
    keep_blobs: bool = False

    def checked(self) -> Settings:
        """Return these settings; raises `ConfigurationError` for an invalid one."""
        if self.durability not in DURABILITIES:
            raise ConfigurationError(
                f"unknown durability {self.durability!r}",
                hint=f"use one of: {', '.join(DURABILITIES)}",
            )
        if self.mask is not None and not callable(self.mask):
            raise ConfigurationError(
                f"mask is not a function but {type(self.mask).__name__}",
                hint="give a function that takes a text and returns the text to be recorded",
            )
        return self

    @classmethod
    def from_environment(cls) -> Settings:
        """Read `WAXLOCAL_DB`, `WAXLOCAL_SESSION`, `WAXLOCAL_DURABILITY`, `WAXELL_OBSERVE`, ...

        An invalid value is an error only where a person sees it (in commands); a recorded program
        continues with the default.
        """
        durability = os.environ.get("WAXLOCAL_DURABILITY", "normal").lower()
        return cls(
            db=database_path(),
            enabled=is_on("WAXELL_OBSERVE"),
            capture_content=is_on("WAXELL_CAPTURE_CONTENT"),
            durability=durability if durability in DURABILITIES else "normal",
            wait=_seconds("WAXLOCAL_WAIT", 1.0),
            interaction_mode=_interaction_mode(os.environ.get("WAXELL_INTERACTION_MODE", "")),
            session_id=os.environ.get("WAXLOCAL_SESSION", "").strip(),
            user_id=os.environ.get("WAXLOCAL_USER", "").strip(),
            keep_blobs=is_on("WAXLOCAL_KEEP_BLOBS", default=False),
        )


def is_on(name: str, default: bool = True) -> bool:
    """Return whether an environment variable is true; `0`, `false`, `no` and `off` are false."""
    value = os.environ.get(name, "").strip().lower()
    return value not in ("0", "false", "no", "off") if value else default


def unseen_after() -> float:
    """Return after how many silent seconds a process that cannot be seen counts as ended.

    0: never. At most a year.
    """
    return _seconds("WAXLOCAL_UNSEEN_AFTER", 86_400.0, most=366 * 86_400.0)


def session_over_after() -> float:
    """Return after how many seconds without activity a session is over; at most a year."""
    return _seconds("WAXLOCAL_SESSION_OVER_AFTER", 1_800.0, most=366 * 86_400.0)


def _seconds(name: str, default: float, most: float = 60.0) -> float:
    try:
        seconds = float(os.environ.get(name, default))
    except ValueError:
        return default
    # The comparison is also false for NaN.
    return min(seconds, most) if seconds >= 0 else default


def _interaction_mode(value: str) -> str:
    return value if value in INTERACTION_MODES else ""


class ObserveConfig:
    """The server URL and API key of the program, for the upload.

    The key is kept as a `Secret`, so that neither `repr()` nor `vars()` shows it.
    """

    def __init__(
        self,
        api_url: str = "",
        api_key: str = "",
        agent_slug: str = "",
        agent_external_id: str = "",
        otel_endpoint: str = "",
        debug: bool = False,
        capture_content: bool = True,
        prompt_guard: bool = False,
        prompt_guard_server: bool = False,
        prompt_guard_action: str = "block",
        instrument_infra: bool = True,
        infra_exclude: str = "",
        interaction_mode: str = "auto",
    ) -> None:
        self.api_url = api_url
        # Not validated here: a recorder must not stop the program for a key that it never uses.
        self._api_key = Secret.unchecked(api_key or "")
        self.agent_slug = agent_slug
        self.agent_external_id = agent_external_id
        self.otel_endpoint = otel_endpoint
        self.debug = debug
        self.capture_content = capture_content
        self.prompt_guard = prompt_guard
        self.prompt_guard_server = prompt_guard_server
        self.prompt_guard_action = prompt_guard_action
        self.instrument_infra = instrument_infra
        self.infra_exclude = infra_exclude
        self.interaction_mode = interaction_mode

    def __repr__(self) -> str:
        key = "set" if self.api_key else "not set"
        return f"ObserveConfig(api_url={self.api_url!r}, api_key=<{key}>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObserveConfig) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def api_key(self) -> str:
        """The key in plain text, stripped."""
        return self._api_key.reveal()

    @api_key.setter
    def api_key(self, key: str) -> None:
        self._api_key = Secret.unchecked(key)

    @property
    def is_configured(self) -> bool:
        """Whether both a URL and a key are set."""
        return bool(self.api_url and self.api_key)

    @classmethod
    def from_env(cls) -> ObserveConfig:
        """Read `WAXELL_API_URL` and `WAXELL_API_KEY`, else `WAX_API_URL` and `WAX_API_KEY`."""
        return cls(
            api_url=_first_of("WAXELL_API_URL", "WAX_API_URL"),
            api_key=_first_of("WAXELL_API_KEY", "WAX_API_KEY"),
            capture_content=is_on("WAXELL_CAPTURE_CONTENT"),
            debug=is_on("WAXELL_DEBUG", default=False),
        )


def _first_of(*names: str) -> str:
    values = (os.environ.get(name, "").strip() for name in names)
    return next(filter(None, values), "")

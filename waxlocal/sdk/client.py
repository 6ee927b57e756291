"""`WaxellObserveClient`: the low-level calls, each an async method and one that is not."""

from __future__ import annotations

from typing import ClassVar

from waxlocal.recording.recorder import current_recorder
from waxlocal.sdk.local_answers import LocalAnswers
from waxlocal.sdk.records_by_id import RecordsById
from waxlocal.settings.config import ObserveConfig

__all__ = ["WaxellObserveClient"]


class WaxellObserveClient(RecordsById, LocalAnswers):
    """Records runs step by step, by run id, also from several threads or processes.

    Everything goes into the local file; a method returns when its rows are committed. An argument
    of a wrong type raises `TypeError`. All clients of a process share their runs: make one wherever
    you need it. Address and key are kept for programs that set them; nothing is sent.
    """

    _config: ClassVar[ObserveConfig | None] = None

    def __init__(
        self,
        api_url: str | None = None,
        api_key: str | None = None,
        prompt_cache_ttl: float | None = None,
    ) -> None:
        """Accept what the original accepts: there is no server, and no cache of its prompts."""

    @classmethod
    def configure(cls, api_url: str, api_key: str) -> None:
        """Keep the address and the key of a server, for `get_config`; nothing is sent to it."""
        cls._config = ObserveConfig(api_url=api_url.rstrip("/"), api_key=api_key)

    @classmethod
    def get_config(cls) -> ObserveConfig | None:
        """Return what `configure` was given, None if it was not called."""
        return cls._config

    @classmethod
    def is_configured(cls) -> bool:
        """Return whether `configure` was given both an address and a key."""
        return cls._config is not None and cls._config.is_configured

    async def close(self) -> None:
        """Write the records that are only in memory, if the file can be written now."""
        current_recorder().store.drain()

    @classmethod
    def reset_connection_breaker(cls) -> None:
        """Do nothing: there is no connection that could have failed."""

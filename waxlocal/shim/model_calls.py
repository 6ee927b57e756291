"""A call of a model that a framework reports: noted at its beginning, recorded at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from waxlocal.known_types import name_of_type
from waxlocal.records import RecordStatus
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.exception_text import printed

__all__ = ["Answer", "ModelCall", "Tokens"]

PREVIEW_CHARACTERS = 500


@dataclass
class Tokens:
    """What the provider counted; None is unknown."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    cached: int = 0
    cache_write: int = 0
    reasoning: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the input or the output was counted."""
        return self.tokens_in is not None or self.tokens_out is not None


@dataclass
class Answer:
    """What came back; a model or a provider that is not told is as it was asked for."""

    text: str = ""
    model: str = ""
    provider: str = ""
    tokens: Tokens = field(default_factory=Tokens)


@dataclass
class ModelCall:
    """A call that has begun. Times are by a steady clock, in nanoseconds."""

    model: str = ""
    provider: str = ""
    task: str = ""
    framework: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    messages: list[Any] = field(default_factory=list)
    started_ns: int = field(default_factory=time.monotonic_ns)
    first_token_ns: int | None = None
    chunks: int = 0
    # A call that a framework makes for another one is not recorded; its answer fills the gaps.
    outer: ModelCall | None = None
    inner: ModelCall | None = None
    answer: Answer = field(default_factory=Answer)
    ended: bool = False

    def note_token(self) -> None:
        """Take note of a piece of a streamed answer."""
        self.chunks += 1
        if self.first_token_ns is None:
            self.first_token_ns = time.monotonic_ns()

    def record(
        self, context: WaxellContext, answer: Answer, error: BaseException | None = None
    ) -> None:
        """Record the call, which ends now. Tokens that nobody counted are recorded as unknown."""
        within = self.inner.answer if self.inner is not None else Answer()
        tokens = answer.tokens if answer.tokens.is_known else within.tokens
        known = tokens.is_known
        config = {name: value for name, value in self.config.items() if value is not None}
        context.record_llm_call(
            model=answer.model or within.model or self.model or "unknown",
            provider=answer.provider or self.provider,
            task=self.task,
            framework=self.framework,
            tokens_in=tokens.tokens_in or 0,
            tokens_out=tokens.tokens_out or 0,
            cached_tokens=tokens.cached,
            cache_write_tokens=tokens.cache_write,
            reasoning_tokens=tokens.reasoning,
            config=config if known else {**config, "usage": "unknown"},
            full_messages=self.messages or None,
            full_response=answer.text or None,
            prompt_preview=self._last_words()[:PREVIEW_CHARACTERS],
            response_preview=answer.text[:PREVIEW_CHARACTERS],
            duration_ms=self._ms(time.monotonic_ns()),
            is_streaming=self.chunks > 0,
            ttft_ms=None if self.first_token_ns is None else self._ms(self.first_token_ns),
            chunk_count=self.chunks or None,
            status=RecordStatus.OK if error is None else RecordStatus.ERROR,
            error_type="" if error is None else name_of_type(type(error)),
            error_message="" if error is None else printed(error),
        )

    def _ms(self, at_ns: int) -> int:
        return round((at_ns - self.started_ns) / 1e6)

    def _last_words(self) -> str:
        """Return what the user said last."""
        for message in reversed(self.messages):
            if message.get("role") == "user" and isinstance(message.get("content"), str):
                return str(message["content"])
        return ""

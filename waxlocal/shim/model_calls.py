"""A call of a model that a framework reports: noted at its beginning, recorded at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from waxlocal.capture.call_rows import row_of_call
from waxlocal.capture.callback_calls import CallbackCall
from waxlocal.capture.calls import CapturedCalls
from waxlocal.capture.facts import CallFacts, SpanStatus
from waxlocal.capture.pairing import Report
from waxlocal.errors import UnknownUsage
from waxlocal.known_types import name_of_type
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.exception_text import printed
from waxlocal.token_counts import UNKNOWN, TokenCounts
from waxlocal.token_usage import read_usage

__all__ = ["Answer", "ModelCall", "member", "tokens_of"]


@dataclass
class Answer:
    """What came back; a model or a provider that is not told is as it was asked for."""

    text: str = ""
    model: str = ""
    provider: str = ""
    tokens: TokenCounts = UNKNOWN


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
    inside: CallbackCall = field(default_factory=CallbackCall)

    def note_token(self) -> None:
        """Take note of a piece of a streamed answer."""
        self.chunks += 1
        if self.first_token_ns is None:
            self.first_token_ns = time.monotonic_ns()

    def record(
        self, context: WaxellContext, answer: Answer, error: BaseException | None = None
    ) -> None:
        """Record the call, which ends now; one that was captured below it is the same call.

        Tokens that nobody counted are recorded as unknown.
        """
        self.inside.end()
        if not context._recorder.enabled:
            return
        now_ns = time.monotonic_ns()
        scope = f"waxlocal.{self.framework}"
        row = row_of_call(self._facts(answer, error), self._ms(now_ns), scope)
        row["details"] |= {"framework": self.framework}
        if self.chunks:
            row["details"] |= {"chunk_count": self.chunks}
        report = Report(scope, self.started_ns, now_ns, row)
        CapturedCalls.of(context).record_around(report, self.inside.captured)

    def _facts(self, answer: Answer, error: BaseException | None) -> CallFacts:
        within = self.inner.answer if self.inner is not None else Answer()
        return CallFacts(
            model=answer.model or within.model or self.model or "unknown",
            requested_model=self.model,
            provider=answer.provider or self.provider,
            task=self.task,
            tokens=answer.tokens if answer.tokens.is_known else within.tokens,
            ttft_ms=None if self.first_token_ns is None else self._ms(self.first_token_ns),
            is_streaming=self.chunks > 0,
            config={name: value for name, value in self.config.items() if value is not None},
            messages=self.messages or None,
            response=answer.text or None,
            said=answer.text or None,
            status=SpanStatus.OK if error is None else SpanStatus.ERROR,
            error_type=None if error is None else name_of_type(type(error)),
            error_message=None if error is None else printed(error),
        )

    def _ms(self, at_ns: int) -> int:
        return round((at_ns - self.started_ns) / 1e6)


def member(holder: Any, name: str) -> Any:
    """Return what a mapping or an object has under a name; None where it has nothing."""
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def tokens_of(usage: object) -> TokenCounts:
    """Return what a usage object says; unknown if it is none, or of an unknown shape."""
    with suppress(UnknownUsage):
        return read_usage(usage)
    return UNKNOWN

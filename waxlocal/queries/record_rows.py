"""The records of a run, as frozen dataclasses; `rows` says what their values mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from waxlocal.messages.words import words_of_calls
from waxlocal.records import ABANDONED

__all__ = ["Event", "LlmCall", "Score", "Span", "Step"]


@dataclass(frozen=True, slots=True)
class LlmCall:
    """One LLM call; `recorded_at` is its end. `cost_source` is `call` or `price`.

    Without `usage_known` nobody told the tokens, and their counts are 0.
    """

    position: int
    recorded_at: str
    model: str
    provider: str
    task: str
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    cache_write_tokens: int
    cost: float | None
    cost_source: str | None
    duration_ms: int | None
    ttft_ms: int | None
    is_streaming: bool
    status: str
    error_type: str | None
    error_message: str | None
    prompt_preview: str | None
    response_preview: str | None
    messages: Any
    response: str | None
    details: Any
    reasoning_tokens: int | None
    response_id: str | None
    usage_known: bool
    tools: Any

    def parts_of_input(self) -> tuple[tuple[int, str], ...]:
        """Return what some of the input tokens were, with their number: those that are known."""
        return _known_parts((self.cached_tokens, "cached"), *self._finer("_in"))

    def parts_of_output(self) -> tuple[tuple[int, str], ...]:
        """Return the same for the output tokens."""
        return _known_parts((self.reasoning_tokens, "reasoning"), *self._finer("_out"))

    def _finer(self, side: str) -> list[tuple[int | None, str]]:
        """Return the provider's finer counts of one side: of audio, images, ..."""
        counts = self.details.get("token_details") if isinstance(self.details, dict) else None
        return [
            (number, name.removesuffix(side).replace("_", " "))
            for name, number in (counts.items() if isinstance(counts, dict) else ())
            if name.endswith(side) and type(number) is int
        ]

    def answer(self) -> str:
        """Return what was answered: the text, and the tools asked for, each on its own line."""
        said = self.response if self.response is not None else self.response_preview
        details = self.details if isinstance(self.details, dict) else {}
        return "\n".join(filter(None, (said, words_of_calls(details.get("tool_calls")))))

    def finish_reason(self) -> str:
        """Return why the answer ended, in the provider's word; empty if nobody said it."""
        found = self.details.get("finish_reason") if isinstance(self.details, dict) else None
        return found if isinstance(found, str) else ""

    def further_facts(self) -> tuple[str, ...]:
        """Return in words what has no place of its own in a list of calls, where it is known."""
        facts = ((name, getattr(self, name)) for name in _FURTHER)
        shown = [_fact(name, value) for name, value in facts if value]
        reason = self.finish_reason()
        words = re.split(r"\W+", re.sub(r"[-_]", "", reason.lower()))
        if not _AS_USUAL.issuperset(words):
            shown.append(_LEFT if reason == ABANDONED else f"ended with {reason}")
        return tuple(shown)


_LEFT = "left before its end"
# Answers that ended as they should, in the words of several providers, however they spell them.
_AS_USUAL = frozenset((
    "", "stop", "endturn", "stopsequence", "toolcall", "toolcalls", "tooluse", "functioncall",
    "complete", "completed", "eos", "eostoken", "finishreasonstop", "success",
))  # fmt: skip
# How much of a value a list of calls shows as a further fact.
FACT_CHARS = 200
# The fields that the command and the page show each in its place. They show every other one, too:
# all that it takes is the field.
_PLACED = (
    *("position", "recorded_at", "model", "provider", "task"),
    *("tokens_in", "tokens_out", "cached_tokens", "reasoning_tokens", "cost", "cost_source"),
    *("duration_ms", "ttft_ms", "status", "error_type", "error_message"),
    *("prompt_preview", "response_preview", "messages", "response", "details"),
    *("usage_known", "tools"),
)
_FURTHER = tuple(field.name for field in fields(LlmCall) if field.name not in _PLACED)


def _fact(field: str, value: object) -> str:
    name = field.removeprefix("is_").replace("_", " ")
    if value is True:
        return name
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return f"{name} {text[:FACT_CHARS]}" + (" …" if len(text) > FACT_CHARS else "")


def _known_parts(*parts: tuple[int | None, str]) -> tuple[tuple[int, str], ...]:
    return tuple((number, name) for number, name in parts if number)


@dataclass(frozen=True, slots=True)
class Step:
    """A step recorded by the program; `output` and `attributes` are decoded JSON."""

    position: int
    recorded_at: str
    step_name: str
    kind: str
    output: Any
    attributes: Any


@dataclass(frozen=True, slots=True)
class Span:
    """A span of a run, with its child spans.

    `status` is `running`, `ok` or `error`; `duration_ms` is None if it is open or was not given.
    """

    position: int
    parent_position: int | None
    started_at: str
    duration_ms: float | None
    name: str
    kind: str
    status: str
    error: str | None
    attributes: Any
    input: Any
    output: Any
    children: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """A score of a run; `data_type` is `numeric`, `boolean`, `categorical` or another text."""

    position: int
    recorded_at: str
    name: str
    data_type: str
    numeric_value: float | None
    string_value: str | None
    comment: str

    @property
    def value(self) -> float | bool | str | None:
        """The value in its own type."""
        if self.data_type == "boolean" and self.numeric_value is not None:
            return bool(self.numeric_value)
        return self.string_value if self.numeric_value is None else self.numeric_value


@dataclass(frozen=True, slots=True)
class Event:
    """A record without a table of its own: a policy check, an approval, a data access, ..."""

    position: int
    recorded_at: str
    event: str
    data: Any

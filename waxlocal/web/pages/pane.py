"""What a page shows of the selected row of a trace: what went in, what came out, its figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from waxlocal import wording
from waxlocal.messages.dialects import conversation_in
from waxlocal.messages.forms import Message
from waxlocal.messages.reader import read_form
from waxlocal.messages.words import words_of, words_of_calls
from waxlocal.queries import LlmCall, RunDetail, Span
from waxlocal.queries.record_rows import Event, Score, Step
from waxlocal.web.pages.figures import milliseconds
from waxlocal.web.pages.folds import MOST_VALUE_CHARS, Fold, Words, folded_value
from waxlocal.web.pages.trace import GAP, Bar

__all__ = ["VIEWS", "Pane", "Said", "Value", "pane_of"]

# How values are shown: the words as Markdown, as they are, or the stored value.
VIEWS = ("rendered", "text", "json")
# The last messages of a prompt are shown, those before them are folded.
_LAST_MESSAGES = 2
# What a decorated function returned stands under this name.
_RETURNED = ("output", "result")


@dataclass(frozen=True)
class Said:
    """Words, and who said them where that is known."""

    by: str
    words: Fold


@dataclass(frozen=True)
class Value:
    """A recorded value: what is said in it, of a long conversation `earlier` apart; and as JSON."""

    heading: str
    raw: Fold
    said: Sequence[Said] = ()
    earlier: Sequence[Said] = ()


@dataclass(frozen=True)
class Pane:
    """The selected row; `facts` are what is known of it beside its values, each with a name.

    `is_run`: it is a run of its own, which has a page.
    """

    bar: Bar
    is_run: bool
    facts: Sequence[tuple[str, str]]
    values: Sequence[Value]
    traceback: Fold | None = None
    scores: Sequence[Score] = ()


def pane_of(bar: Bar, owner: RunDetail, since: int, view: str = VIEWS[0]) -> Pane:
    """Return what there is of a row of the run `owner`, in a trace that began at `since`.

    `view` is one of `VIEWS`; Markdown is rendered for the first of them only.
    """
    after = (bar.start - since) / 1000
    began = "began after" if after > 0 else "began before the run by"
    facts = [(began, milliseconds(abs(after)))] if after else []
    if bar.duration_ms is not None:
        facts.append(("took", milliseconds(bar.duration_ms)))
    words = Words() if view == VIEWS[0] else Words(0)
    if bar.source == "run":
        return _of_run(bar, owner, facts, words)
    record = _record(owner, bar)
    if isinstance(record, LlmCall):
        return Pane(bar, False, [*facts, *_facts(record)], [*_of_call(record, words)])
    return Pane(bar, False, facts, [*_of_record(record, words)])


def _record(owner: RunDetail, bar: Bar) -> LlmCall | Span | Step | Event | None:
    """Return the record of a row; None for a gap, and if it has gone meanwhile."""
    if bar.source == GAP:
        return None
    records: Mapping[str, Iterable[LlmCall | Span | Step | Event]] = {
        "llm": owner.llm_calls,
        "span": _all(owner.spans),
        "step": owner.steps,
        "event": owner.events,
    }
    return next((one for one in records[bar.source] if one.position == bar.position), None)


def _all(spans: Sequence[Span]) -> Iterator[Span]:
    waiting = [*reversed(spans)]
    while waiting:
        span = waiting.pop()
        yield span
        waiting.extend(reversed(span.children))


def _of_run(bar: Bar, detail: RunDetail, facts: Sequence[tuple[str, str]], words: Words) -> Pane:
    given = (
        ("Message", detail.inputs, detail.run.message),
        ("Answer", detail.result, detail.run.answer),
    )
    values = [
        Value(heading, raw, _said("", text, words))
        for heading, stored, text in given
        if (raw := folded_value(stored))
    ]
    return Pane(bar, True, facts, values, folded_value(detail.traceback), detail.scores)


def _of_call(call: LlmCall, words: Words) -> Iterator[Value]:
    prompt = call.messages if call.messages is not None else call.prompt_preview
    yield from _value("Prompt", prompt, words)
    answer = call.answer()
    if raw := folded_value(call.response if call.response is not None else answer):
        yield Value("Answer", raw, _said("", answer, words))
    yield from _raw(("Tools offered", call.tools), ("Details", call.details))


def _of_record(record: Span | Step | Event | None, words: Words) -> Iterator[Value]:
    if isinstance(record, Span):
        yield from _value("Input", record.input, words)
        yield from _value("Output", record.output, words)
        yield from _raw(("Attributes", record.attributes))
    elif isinstance(record, Step):
        yield from _value("Output", record.output, words)
        yield from _raw(("Attributes", record.attributes))
    elif record is not None:
        yield from _raw(("Data", record.data))


def _facts(call: LlmCall) -> Iterator[tuple[str, str]]:
    """Yield what is known of a call, each with its name."""
    if call.ttft_ms is not None:
        yield "first token", milliseconds(call.ttft_ms)
    if call.usage_known:
        yield "input", _tokens(call.tokens_in, call.parts_of_input())
        yield "output", _tokens(call.tokens_out, call.parts_of_output())
    else:
        yield "tokens", "unknown"
    source = wording.cost_source(call.cost_source, usage_known=call.usage_known)
    yield "cost", f"{wording.money(call.cost)} ({source})"
    yield from ((name, said) for name, said in (("provider", call.provider), ("task", call.task))
                if said)  # fmt: skip
    if facts := call.further_facts():
        yield "further", " · ".join(facts)


def _tokens(count: int, parts: Iterable[tuple[int, str]]) -> str:
    named = ", ".join(f"{number:,} {name}" for number, name in parts)
    return wording.counted(count, "token") + (f" ({named})" if named else "")


# -- values


def _value(heading: str, stored: object, words: Words) -> Iterator[Value]:
    """Yield a value, unless it is empty: of messages what they say, of text the text."""
    raw = None if stored in (None, "", [], {}) else folded_value(stored)
    if raw is None:
        return
    if isinstance(stored, dict) and len(stored) == 1:
        stored = next((stored[name] for name in _RETURNED if name in stored), stored)
    if isinstance(stored, str):
        yield Value(heading, raw, _said("", stored, words))
    else:
        told = [one for message in _messages(stored) for one in _of_message(message, words)]
        yield Value(heading, raw, told[-_LAST_MESSAGES:], told[:-_LAST_MESSAGES])


def _messages(stored: object) -> Iterator[Message]:
    """Yield the messages of a conversation, or of the state of a graph; of all else, nothing."""
    held = stored.get("messages") if isinstance(stored, dict) else None
    for form in conversation_in(stored if held is None else held) or ():
        yield from read_form(form, "")


def _raw(*values: tuple[str, object]) -> Iterator[Value]:
    for heading, stored in values:
        if stored not in (None, "", [], {}) and (raw := folded_value(stored)):
            yield Value(heading, raw)


def _of_message(message: Message, words: Words) -> list[Said]:
    content = words_of(message["content"])
    calls = words_of_calls(message.get("tool_calls"))
    by = " ".join(filter(None, (str(message["role"]), message.get("name"))))
    return _said(by, "\n".join(filter(None, (content, calls))), words)


def _said(by: str, text: str, words: Words) -> list[Said]:
    fold = words.fold(text, most=MOST_VALUE_CHARS)
    return [Said(by, fold)] if fold else []

"""A provider's usage object, as it comes with an answer, read as token counts.

    read_usage(response.usage)            # OpenAI, Anthropic, Mistral, ...
    read_usage(response.usage_metadata)   # Gemini; LangChain
    read_usage(answer["usage"])           # Bedrock's Converse; any of them as a dict

No provider's library is imported: the names in the object tell what it is. They are looked up in
its mapping or its `__dict__`; only of objects that have neither are they asked for by attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, NamedTuple, cast

from waxlocal.errors import UnknownUsage
from waxlocal.known_types import is_a, is_opaque, name_of_type
from waxlocal.signal_handlers import Suppress
from waxlocal.token_counts import UNKNOWN, TokenCounts, count, settled

__all__ = ["read_usage"]

# A group inside the usage, "" for the usage itself; and a name in it.
Place = tuple[str, str]


def _places(*names: str) -> tuple[Place, ...]:
    """Return "group.name" and "name" as places."""
    split = (name.rpartition(".") for name in names)
    return tuple((group, name) for group, _, name in split)


# Of each row the first that is there and not None counts. Providers that imitate an API leave a
# name out or set it to None, so one row serves all of them.
_IN = _places(
    "prompt_tokens",  # OpenAI chat and embeddings, Mistral, Groq, DeepSeek, LiteLLM, xAI
    "input_tokens",  # OpenAI responses, Anthropic, LangChain, pydantic-ai
    "prompt_token_count",  # Gemini
    "promptTokenCount",
    "total_input_tokens",  # Gemini interactions
    "inputTokens",  # Bedrock Converse, AI SDK
    "billed_units.input_tokens",  # Cohere: what the bill counts, before what the model read
    "tokens.input_tokens",
    "prompt_eval_count",  # Ollama
)
_OUT = _places(
    "completion_tokens",
    "output_tokens",
    "candidates_token_count",
    "response_token_count",  # Gemini Live
    "candidatesTokenCount",
    "total_output_tokens",
    "outputTokens",
    "billed_units.output_tokens",
    "tokens.output_tokens",
    "eval_count",
)
_CACHED = _places(
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "input_token_details.cache_read",  # LangChain
    "input_token_details.cached_tokens",  # OpenAI realtime
    "cache_read_input_tokens",  # Anthropic, LiteLLM
    "cached_content_token_count",
    "cachedContentTokenCount",
    "total_cached_tokens",
    "cacheReadInputTokens",
    "cachedInputTokens",
    "cache_read_tokens",  # pydantic-ai
    "prompt_cache_hit_tokens",  # DeepSeek
    "cached_prompt_text_tokens",  # xAI
    "num_cached_tokens",
    "cached_tokens",  # Cohere, Moonshot
)
_CACHE_WRITE = _places(
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",  # LiteLLM
    "input_tokens_details.cache_write_tokens",
    "input_token_details.cache_creation",
    "cache_creation_input_tokens",
    "cacheWriteInputTokens",
    "cache_write_tokens",
)
_REASONING = _places(
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",  # Anthropic
    "output_token_details.reasoning",
    "output_token_details.reasoning_tokens",
    "thoughts_token_count",
    "thoughtsTokenCount",
    "total_thought_tokens",
    "reasoning_tokens",
    "reasoningTokens",
)
_TOTAL = _places("total_tokens", "total_token_count", "totalTokenCount", "totalTokens")
# Gemini counts what its own tools read beside the prompt.
_TOOL_USE = _places(
    "tool_use_prompt_token_count", "toolUsePromptTokenCount", "total_tool_use_tokens"
)


# Of Gemini, lists of counts by modality.
_GEMINI_IN = ("prompt_tokens_details", "promptTokensDetails", "input_tokens_by_modality")
_GEMINI_CACHED = ("cache_tokens_details", "cacheTokensDetails", "cached_tokens_by_modality")
_GEMINI_OUT = ("candidates_tokens_details", "candidatesTokensDetails", "output_tokens_by_modality")
# Of OpenAI, within the details of the input.
_OPENAI_CACHED = (
    "prompt_tokens_details.cached_tokens_details",
    "input_tokens_details.cached_tokens_details",
    "input_token_details.cached_tokens_details",
)
# Finer counts, by the name that they get in `details`.
_DETAILS: dict[str, tuple[Place, ...]] = {
    "audio_in": _places(
        "prompt_tokens_details.audio_tokens",
        "input_tokens_details.audio_tokens",
        "input_token_details.audio",
        "input_token_details.audio_tokens",  # OpenAI realtime and transcriptions
        "input_audio_tokens",
        *(f"{group}.AUDIO" for group in _GEMINI_IN),
    ),
    "image_in": _places(
        "prompt_tokens_details.image_tokens",
        "input_tokens_details.image_tokens",
        "input_token_details.image_tokens",
        *(f"{group}.IMAGE" for group in _GEMINI_IN),
    ),
    "audio_cached": _places(
        *(f"{group}.audio_tokens" for group in _OPENAI_CACHED),
        "cache_audio_read_tokens",  # pydantic-ai
        *(f"{group}.AUDIO" for group in _GEMINI_CACHED),
    ),
    "image_cached": _places(
        *(f"{group}.image_tokens" for group in _OPENAI_CACHED),
        *(f"{group}.IMAGE" for group in _GEMINI_CACHED),
    ),
    "video_in": _places(*(f"{group}.VIDEO" for group in _GEMINI_IN)),
    "audio_out": _places(
        "completion_tokens_details.audio_tokens",
        "output_tokens_details.audio_tokens",
        "output_token_details.audio",
        "output_token_details.audio_tokens",
        "output_audio_tokens",
        *(f"{group}.AUDIO" for group in _GEMINI_OUT),
    ),
    "image_out": _places(
        "output_tokens_details.image_tokens",
        "completion_tokens_details.image_tokens",
        *(f"{group}.IMAGE" for group in _GEMINI_OUT),
    ),
    "video_out": _places(*(f"{group}.VIDEO" for group in _GEMINI_OUT)),
    "accepted_prediction": _places("completion_tokens_details.accepted_prediction_tokens"),
    "rejected_prediction": _places("completion_tokens_details.rejected_prediction_tokens"),
    # Anthropic's two lifetimes of a cache entry have two prices.
    **{
        f"cache_write_{lifetime}": _places(
            f"cache_creation.ephemeral_{lifetime}_input_tokens",
            f"input_token_details.ephemeral_{lifetime}_input_tokens",  # LangChain
            f"prompt_tokens_details.cache_creation_token_details.ephemeral_{lifetime}_input_tokens",
            f"cacheDetails.{lifetime.upper()}",  # Bedrock
        )
        for lifetime in ("5m", "1h")
    },
    "web_searches": _places(
        "server_tool_use.web_search_requests",
        "num_search_queries",  # Perplexity
        "tool_calls_details.search_web.invocation",
    ),
    "search_units": _places("billed_units.search_units"),
}
_IN_DETAILS = (*_DETAILS, "tool_use_in")

# Who counts the cache beside the input: the name of its input, and the names only it uses.
_CACHE_BESIDE = {
    ("", "input_tokens"): _places(
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
    ),
    ("", "inputTokens"): _places("cacheReadInputTokens", "cacheWriteInputTokens"),
}
# Who counts reasoning beside the output.
_REASONING_BESIDE = frozenset(
    _places("prompt_token_count", "promptTokenCount", "total_input_tokens")
)

_ROWS: dict[str, tuple[Place, ...]] = {
    "in": _IN,
    "out": _OUT,
    "cached": _CACHED,
    "cache_write": _CACHE_WRITE,
    "reasoning": _REASONING,
    "total": _TOTAL,
    "tool_use_in": _TOOL_USE,
    **_DETAILS,
}
# The same by group and name: the row, and the rank there. An answer has few names, the rows many.
_TABLE: dict[str, dict[str, tuple[str, int]]] = {}
for _row, _all in _ROWS.items():
    for _rank, (_group, _name) in enumerate(_all):
        _TABLE.setdefault(_group, {})[_name] = (_row, _rank)
# Names of the usage itself, its groups among them.
_OWN = frozenset(_TABLE[""]) | {group.partition(".")[0] for group in _TABLE if group}
# Where a whole answer has its usage.
_HOLDERS = ("usage", "usage_metadata", "usageMetadata")
_MISSING = object()


class _Found(NamedTuple):
    """What stands at the best place of a row."""

    rank: int
    place: Place
    value: object


def read_usage(usage: object) -> TokenCounts:
    """Return what a provider's usage object says, as all input and all output.

    Takes the objects of OpenAI (chat completions, responses, embeddings), Anthropic, Gemini,
    Bedrock's Converse, Mistral, Cohere, Ollama, xAI, LiteLLM, LangChain, pydantic-ai and what
    imitates them: models, dataclasses, plain objects, dicts. None, an empty dict and mocks are
    unknown counts. Raises `UnknownUsage`, a `TypeError`, for anything else, and for a count that is
    not a whole number; the message names the place and quotes no content.
    """
    if usage is None or _opaque(type(usage)):
        return UNKNOWN
    found = _find(usage)
    numbers = {row: _number(best) for row, best in found.items()}
    tokens_in, tokens_out, total = (numbers.get(row) for row in ("in", "out", "total"))
    if tokens_in is not None:
        tokens_in += numbers.get("tool_use_in") or 0
    details = {name: number for name in _IN_DETAILS if (number := numbers.get(name))}
    counts = TokenCounts(
        tokens_in,
        tokens_out,
        numbers.get("cached"),
        _written(numbers),
        numbers.get("reasoning"),
        details or None,
    )
    # An imitation of such an API may count as OpenAI does; its own total tells.
    whole = total is not None and total == (tokens_in or 0) + (tokens_out or 0)
    return settled(
        counts,
        total,
        cache_beside=not whole and _is_cache_beside(found),
        reasoning_beside=not whole and "in" in found and found["in"].place in _REASONING_BESIDE,
    )


def _find(usage: object) -> dict[str, _Found]:
    """Return what stands at the best place of each row; raises `UnknownUsage` where nothing can."""
    own = _members(usage, _OWN)
    if own is None or (own and _OWN.isdisjoint(own)):
        raise UnknownUsage(
            f"usage: {name_of_type(type(usage))} has no counts of tokens that waxlocal knows",
            hint=_hint(usage),
        )
    found: dict[str, _Found] = {}
    for group, names in _TABLE.items():
        outer, _, inner = group.partition(".")
        if outer and outer not in own:
            continue
        members = _in_group(own[outer], inner, names.keys()) if outer else own
        for name, value in (members or {}).items():
            row, rank = names.get(name, ("", 0))
            if row and value is not None and (row not in found or rank < found[row].rank):
                found[row] = _Found(rank, (group, name), value)
    return found


def _number(found: _Found) -> int | None:
    """Return a count; None for a mock; raises `UnknownUsage` for anything else."""
    number = count(found.value)
    if number is None and not _opaque(type(found.value)):
        where = ".".join(filter(None, found.place))
        raise UnknownUsage(
            f"usage: {where} must be a whole number of tokens, not {_shown(found.value)}"
        )
    return number


def _is_cache_beside(found: dict[str, _Found]) -> bool:
    only_there = _CACHE_BESIDE.get(found["in"].place, ()) if "in" in found else ()
    return any(best.place in only_there for best in found.values())


def _written(numbers: dict[str, int | None]) -> int | None:
    """Return the tokens written to the cache: the sum that was told, or that of its parts.

    LangChain tells a sum of 0 where it tells the parts.
    """
    written = numbers.get("cache_write")
    parts = [numbers.get(name) for name in ("cache_write_5m", "cache_write_1h")]
    known = [part for part in parts if part is not None]
    return max(written or 0, sum(known)) if known else written


def _opaque(kind: type) -> bool:
    """Return whether values of this type must not be asked; remembered, as it takes a while."""
    known = _OPAQUE.get(kind)
    if known is None:
        if len(_OPAQUE) > MAX_TYPES:
            _OPAQUE.clear()
        known = _OPAQUE[kind] = is_opaque(kind)
    return known


# A program has a few types of usage objects; but each mock has one of its own.
MAX_TYPES = 64
_OPAQUE: dict[type, bool] = {}


def _members(value: object, names: Set[str]) -> Mapping[str, object] | None:
    """Return what an object has under its names; None of what cannot have any."""
    if is_a(value, dict):
        # By the real type, and not by what a derived class makes of `get`.
        return dict(dict.items(cast(dict[str, object], value)))
    kind = type(value)
    if value is None or kind.__module__ == "builtins" or _opaque(kind):
        return None
    with Suppress(Exception):
        if isinstance(value, Mapping):
            return {name: value[name] for name in names if name in value}
        held = object.__getattribute__(value, "__dict__")
        more = held.get("__pydantic_extra__") or getattr(value, "__pydantic_extra__", None)
        found = {**held, **more} if isinstance(more, dict) else held
        if not names.isdisjoint(found):
            return dict(found)
    # Slots, protocol buffers, properties.
    read = {name: _attribute(value, name) for name in names}
    return {name: found for name, found in read.items() if found is not _MISSING} or None


def _in_group(value: object, inner: str, names: Set[str]) -> Mapping[str, object] | None:
    """Return what a group has under these names; with `inner`, what that group within it has."""
    if inner:
        value = (_members(value, {inner}) or {}).get(inner)
    return _counts_by_kind(value) if is_a(value, list) else _members(value, names)


# There are five modalities, and two lifetimes.
MAX_KINDS = 16
_KIND = ("modality", "ttl")
_COUNT = ("token_count", "tokenCount", "tokens", "inputTokens")


def _counts_by_kind(items: Any) -> dict[str, object]:
    """Return the counts of a list such as `[{"modality": "AUDIO", "token_count": 9}]`, by kind."""
    found: dict[str, object] = {}
    for item in list.__getitem__(items, slice(MAX_KINDS)):
        told = _members(item, {*_KIND, *_COUNT}) or {}
        kind, number = _first(told, _KIND), _first(told, _COUNT)
        if is_a(kind, str):
            name = str.upper(cast(str, kind))
            before = found.get(name)
            both = type(before) is int and type(number) is int
            found[name] = cast(int, before) + cast(int, number) if both else number
    return found


def _first(told: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((told[name] for name in names if told.get(name) is not None), None)


def _attribute(value: object, name: str) -> object:
    with Suppress(Exception):
        return getattr(value, name, _MISSING)
    return _MISSING


def _shown(value: object) -> str:
    if type(value) in (int, float):
        return "a number that large" if abs(cast(float, value)) >= 1e20 else repr(value)
    return name_of_type(type(value))


def _held(usage: object, name: str) -> object:
    if is_a(usage, dict):
        return dict.get(cast(dict[str, object], usage), name)
    return _attribute(usage, name)


def _hint(usage: object) -> str:
    for name in _HOLDERS:
        held = _held(usage, name)
        if held is not None and held is not _MISSING:
            return f"this looks like the whole answer: pass its .{name}"
    return "pass the provider's object as it is (response.usage), or tokens_in= and tokens_out="

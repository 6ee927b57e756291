"""The usage objects of the providers, as their libraries hand them over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waxlocal.errors import ObserveError, UnknownUsage
from waxlocal.token_counts import UNKNOWN, TokenCounts
from waxlocal.token_usage import read_usage

OPENAI_CHAT = {
    "completion_tokens": 80,
    "prompt_tokens": 1200,
    "total_tokens": 1280,
    "completion_tokens_details": {
        "accepted_prediction_tokens": 0,
        "audio_tokens": 0,
        "reasoning_tokens": 30,
        "rejected_prediction_tokens": 0,
        "text_tokens": None,
    },
    "prompt_tokens_details": {
        "audio_tokens": 12,
        "cache_write_tokens": None,
        "cached_tokens": 1000,
    },
}
OPENAI_RESPONSES = {
    "input_tokens": 1200,
    "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 1000},
    "output_tokens": 80,
    "output_tokens_details": {"reasoning_tokens": 30},
    "total_tokens": 1280,
}
ANTHROPIC = {
    "cache_creation": {"ephemeral_1h_input_tokens": 100, "ephemeral_5m_input_tokens": 0},
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 3000,
    "inference_geo": None,
    "input_tokens": 5000,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 10},
    "server_tool_use": {"web_search_requests": 2},
    "service_tier": "standard",
}
GEMINI = {
    "cache_tokens_details": None,
    "cached_content_token_count": 60,
    "candidates_token_count": 20,
    "prompt_token_count": 100,
    "prompt_tokens_details": [{"modality": "TEXT", "token_count": 100}],
    "thoughts_token_count": 30,
    "tool_use_prompt_token_count": None,
    "total_token_count": 150,
    "traffic_type": None,
}
LITELLM = {
    "completion_tokens": 80,
    "prompt_tokens": 1200,
    "total_tokens": 1280,
    "prompt_tokens_details": {"cached_tokens": 900, "cache_creation_tokens": 100},
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 900,
}

SHAPES = [
    pytest.param(OPENAI_CHAT, TokenCounts(1200, 80, 1000, None, 30, {"audio_in": 12}), id="openai"),
    pytest.param(OPENAI_RESPONSES, TokenCounts(1200, 80, 1000, 0, 30), id="openai responses"),
    pytest.param({"prompt_tokens": 7, "total_tokens": 7}, TokenCounts(7), id="openai embeddings"),
    pytest.param(
        ANTHROPIC,
        TokenCounts(8100, 40, 3000, 100, 10, {"cache_write_1h": 100, "web_searches": 2}),
        id="anthropic",
    ),
    pytest.param(
        {
            "input_tokens": 5,
            "output_tokens": 1,
            "cache_creation_input_tokens": None,
            "cache_read_input_tokens": None,
        },
        TokenCounts(5, 1),
        id="anthropic without a cache",
    ),
    pytest.param(
        {"input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 4}},
        TokenCounts(9, None, None, 4, None, {"cache_write_5m": 4}),
        id="anthropic with the parts alone",
    ),
    pytest.param(
        {"output_tokens": 12, "input_tokens": None}, TokenCounts(None, 12), id="anthropic delta"
    ),
    pytest.param(GEMINI, TokenCounts(100, 50, 60, None, 30), id="gemini"),
    pytest.param(
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 30,
            "toolUsePromptTokenCount": 9,
            "totalTokenCount": 159,
        },
        TokenCounts(109, 50, None, None, 30, {"tool_use_in": 9}),
        id="gemini as JSON, with tools",
    ),
    pytest.param(
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 1300,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 30},
                {"modality": "AUDIO", "tokenCount": 50},
                {"modality": "AUDIO", "tokenCount": 10},
                {"modality": "VIDEO", "tokenCount": 10},
            ],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}, None, []],
        },
        TokenCounts(100, 1300, details={"audio_in": 60, "video_in": 10, "image_out": 1290}),
        id="gemini by modality",
    ),
    pytest.param(
        {
            "total_input_tokens": 100,
            "total_output_tokens": 9,
            "input_tokens_by_modality": [{"modality": "audio", "tokens": 90}, {"modality": 7}],
        },
        TokenCounts(100, 9, details={"audio_in": 90}),
        id="gemini interactions by modality",
    ),
    pytest.param(
        {
            "prompt_token_count": 2000,
            "candidates_token_count": 300,
            "cached_content_token_count": 1500,
            "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 2000}],
            "cache_tokens_details": [{"modality": "AUDIO", "token_count": 1500}],
        },
        TokenCounts(2000, 300, 1500, details={"audio_in": 2000, "audio_cached": 1500}),
        id="gemini with sound from the cache",
    ),
    pytest.param(
        {
            "input_tokens": 2000,
            "output_tokens": 300,
            "cache_read_tokens": 1500,
            "input_audio_tokens": 2000,
            "cache_audio_read_tokens": 1500,
        },
        TokenCounts(2000, 300, 1500, details={"audio_in": 2000, "audio_cached": 1500}),
        id="pydantic-ai with sound from the cache",
    ),
    pytest.param(
        {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "num_search_queries": 3},
        TokenCounts(9, 5, details={"web_searches": 3}),
        id="perplexity",
    ),
    pytest.param(
        {
            "input_tokens": 9,
            "output_tokens": 5,
            "tool_calls_details": {"search_web": {"invocation": 2}},
        },
        TokenCounts(9, 5, details={"web_searches": 2}),
        id="perplexity responses",
    ),
    pytest.param(
        {
            "input_tokens": 1000,
            "output_tokens": 500,
            "total_tokens": 1500,
            "input_token_details": {
                "cached_tokens": 300,
                "text_tokens": 400,
                "audio_tokens": 600,
                "cached_tokens_details": {"text_tokens": 100, "audio_tokens": 200},
            },
            "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
        },
        TokenCounts(
            1000, 500, 300, details={"audio_in": 600, "audio_cached": 200, "audio_out": 400}
        ),
        id="openai realtime",
    ),
    pytest.param(
        {
            "input_tokens": 3700,
            "output_tokens": 500,
            "total_tokens": 4200,
            "input_token_details": {
                "cache_read": 2000,
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 300,
                "ephemeral_1h_input_tokens": 400,
            },
        },
        TokenCounts(3700, 500, 2000, 700, details={"cache_write_5m": 300, "cache_write_1h": 400}),
        id="langchain of anthropic",
    ),
    pytest.param(
        {
            "prompt_tokens": 3700,
            "completion_tokens": 500,
            "total_tokens": 4200,
            "prompt_tokens_details": {
                "cached_tokens": 2000,
                "cache_creation_tokens": 700,
                "cache_creation_token_details": {"ephemeral_1h_input_tokens": 400},
            },
        },
        TokenCounts(3700, 500, 2000, 700, details={"cache_write_1h": 400}),
        id="litellm with an hour in the cache",
    ),
    pytest.param(
        {
            "inputTokens": 1000,
            "outputTokens": 500,
            "cacheReadInputTokens": 2000,
            "cacheWriteInputTokens": 700,
            "cacheDetails": [
                {"ttl": "5m", "inputTokens": 300},
                {"ttl": "1h", "inputTokens": 400},
            ],
        },
        TokenCounts(3700, 500, 2000, 700, details={"cache_write_5m": 300, "cache_write_1h": 400}),
        id="bedrock with an hour in the cache",
    ),
    pytest.param(
        {"prompt_token_count": 100, "candidates_token_count": 50, "thoughts_token_count": 30}
        | {"total_token_count": 150},
        TokenCounts(100, 50, None, None, 30),
        id="gemini that counts thoughts within",
    ),
    pytest.param(
        {"total_input_tokens": 10, "total_output_tokens": 5, "total_thought_tokens": 7}
        | {"total_cached_tokens": 3, "total_tokens": 22},
        TokenCounts(10, 12, 3, None, 7),
        id="gemini interactions",
    ),
    pytest.param(
        {"inputTokens": 200, "outputTokens": 80, "totalTokens": 1280}
        | {"cacheReadInputTokens": 900, "cacheWriteInputTokens": 100},
        TokenCounts(1200, 80, 900, 100),
        id="bedrock converse",
    ),
    pytest.param(
        {"inputTokens": 1200, "outputTokens": 80, "totalTokens": 1280, "cachedInputTokens": 1000}
        | {"reasoningTokens": 30},
        TokenCounts(1200, 80, 1000, None, 30),
        id="ai sdk",
    ),
    pytest.param(
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        | {"prompt_audio_seconds": None, "num_cached_tokens": 4},
        TokenCounts(10, 2, 4),
        id="mistral",
    ),
    pytest.param(
        {
            "billed_units": {"input_tokens": 10.0, "output_tokens": 4.0, "search_units": 1.0},
            "tokens": {"input_tokens": 76.0, "output_tokens": 7.0},
        },
        TokenCounts(10, 4, None, None, None, {"search_units": 1}),
        id="cohere, as billed",
    ),
    pytest.param(LITELLM, TokenCounts(1200, 80, 900, 100), id="litellm"),
    pytest.param(
        {
            "input_tokens": 1200,
            "output_tokens": 80,
            "total_tokens": 1280,
            "input_token_details": {"audio": 5, "cache_creation": 100, "cache_read": 900},
            "output_token_details": {"reasoning": 30},
        },
        TokenCounts(1200, 80, 900, 100, 30, {"audio_in": 5}),
        id="langchain",
    ),
    pytest.param(
        {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        | {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6},
        TokenCounts(10, 2, 4),
        id="deepseek",
    ),
    pytest.param({"prompt_eval_count": 26, "eval_count": 9}, TokenCounts(26, 9), id="ollama"),
    pytest.param(
        {"input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 4, "cache_write_tokens": 1},
        TokenCounts(10, 2, 4, 1),
        id="pydantic-ai",
    ),
]


def as_object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(inner) for name, inner in value.items()})
    return value


def as_slots(value: Any) -> Any:
    """An object without a `__dict__`, such as a protocol buffer."""
    if not isinstance(value, dict):
        return value
    kind: Any = type("Usage", (), {"__slots__": tuple(value), "__module__": __name__})
    made = kind()
    for name, inner in value.items():
        setattr(made, name, as_slots(inner))
    return made


class Model:
    """A model that keeps the names it does not declare elsewhere, as Pydantic's do."""

    def __init__(self, **extra: Any) -> None:
        self.id = "u1"
        self.__pydantic_extra__ = extra


def as_model(value: Any) -> Any:
    if isinstance(value, dict):
        return Model(**{name: as_model(inner) for name, inner in value.items()})
    return value


class View(Mapping[str, Any]):
    def __init__(self, held: dict[str, Any]) -> None:
        self._held = held

    def __getitem__(self, name: str) -> Any:
        return as_view(self._held[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def as_view(value: Any) -> Any:
    return View(value) if isinstance(value, dict) else value


@pytest.mark.parametrize("form", [dict, as_object, as_slots, as_model, as_view])
@pytest.mark.parametrize(("usage", "counts"), SHAPES)
def test_the_usage_of_each_provider_is_read_in_every_form(
    usage: dict[str, Any], counts: TokenCounts, form: Callable[[Any], Any]
) -> None:
    assert read_usage(form(usage)) == counts


def test_an_imitation_of_anthropic_that_counts_all_input_is_believed_its_total() -> None:
    usage = {"input_tokens": 1200, "output_tokens": 80, "cache_read_input_tokens": 900}
    assert read_usage(usage).tokens_in == 2100
    assert read_usage({**usage, "total_tokens": 1280}).tokens_in == 1200
    assert read_usage({**usage, "total_tokens": 2180}).tokens_in == 2100


def test_reasoning_beside_the_output_is_found_by_the_total() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 170}
    found = read_usage({**usage, "completion_tokens_details": {"reasoning_tokens": 30}})
    assert found.tokens_out == 70
    assert found.note == (
        "30 reasoning tokens were counted beside the output: as the total of 170 says"
    )


@pytest.mark.parametrize("usage", [None, {}, MagicMock(), {"prompt_tokens": None}])
def test_usage_without_counts_is_unknown_and_not_zero(usage: object) -> None:
    assert read_usage(usage) == UNKNOWN


def test_a_mock_within_a_usage_object_is_unknown() -> None:
    usage = SimpleNamespace(prompt_tokens=5, prompt_tokens_details=MagicMock())
    assert read_usage(usage) == TokenCounts(5)
    assert read_usage(SimpleNamespace(prompt_tokens=MagicMock(), completion_tokens=2)) == (
        TokenCounts(None, 2)
    )


@dataclass
class Answer:
    usage: Any = None
    usage_metadata: Any = None


@pytest.mark.parametrize(
    "value",
    [5, "12 tokens", b"12", [OPENAI_CHAT], (1200, 80), {"tokens_used": 3}, {1: 2}, object(), dict],
)
def test_what_has_no_counts_of_tokens_is_a_type_error(value: object) -> None:
    with pytest.raises(UnknownUsage, match="has no counts of tokens that waxlocal knows") as error:
        read_usage(value)
    assert isinstance(error.value, TypeError)
    assert isinstance(error.value, ObserveError)
    assert "pass the provider's object as it is (response.usage)" in error.value.hint


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (Answer(usage=OPENAI_CHAT), ".usage"),
        (Answer(usage_metadata=GEMINI), ".usage_metadata"),
        ({"id": "c1", "usage": OPENAI_CHAT}, ".usage"),
    ],
)
def test_a_whole_answer_is_refused_with_the_name_of_its_usage(answer: object, name: str) -> None:
    with pytest.raises(UnknownUsage) as error:
        read_usage(answer)
    assert error.value.hint == f"this looks like the whole answer: pass its {name}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        (1.5, "1.5"),
        (True, "bool"),
        ("many", "str"),
        (float("nan"), "nan"),
        (10**400, "a number that large"),
        ([3], "list"),
    ],
)
def test_a_count_that_is_not_a_whole_number_is_named(value: object, shown: str) -> None:
    usage = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": value}}
    with pytest.raises(UnknownUsage) as error:
        read_usage(usage)
    assert str(error.value) == (
        f"usage: prompt_tokens_details.cached_tokens must be a whole number of tokens, not {shown}"
    )


class Angry:
    __slots__ = ()

    @property
    def prompt_tokens(self) -> int:
        raise RuntimeError("no")

    @property
    def completion_tokens(self) -> int:
        return 4


def test_a_property_that_raises_is_unknown() -> None:
    assert read_usage(Angry()) == TokenCounts(None, 4)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(
    [name for shape in SHAPES if isinstance(shape.values[0], dict) for name in shape.values[0]]
)


@given(JSON | st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON)))
def test_any_json_is_counts_or_unknown_usage(value: Any) -> None:
    try:
        found = read_usage(value)
    except UnknownUsage:
        return
    assert all(number is None or number >= 0 for number in found[:5])

"""Real model names, and what the price list says of them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import datetime

import pytest

from tests.tools.patience import PATIENCE_S
from waxlocal.prices.catalogue import Price, look_up
from waxlocal.prices.lookup import Prices
from waxlocal.storage.schema import prepare

CLAUDE_35 = (3.0, 15.0, 0.3, 3.75)
GPT_4O = (2.5, 10.0, 1.25, None)
GPT_4O_MINI = (0.15, 0.6, 0.075, None)
HAIKU_3_BEDROCK = (0.25, 1.25, None, None)
SONNET = "anthropic.claude-3-5-sonnet-20241022-v2:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us."

# Name as recorded, provider as recorded, dollars per million tokens: input, output, cache read,
# cache write. Prices of the providers' own pages, of models that have kept theirs.
KNOWN = [
    # OpenAI
    ("gpt-4o", "", GPT_4O),
    ("gpt-4o", "openai", GPT_4O),
    ("gpt-4o-2024-08-06", "", GPT_4O),
    ("gpt-4o-2024-05-13", "", (5.0, 15.0, None, None)),
    ("gpt-4o-mini", "", GPT_4O_MINI),
    ("gpt-4o-mini-2024-07-18", "openai", GPT_4O_MINI),
    ("GPT-4o-Mini", "OpenAI", GPT_4O_MINI),
    ("gpt-4.1", "", (2.0, 8.0, 0.5, None)),
    ("gpt-4.1-20250414", "", (2.0, 8.0, 0.5, None)),
    ("gpt-4.1-mini", "", (0.4, 1.6, 0.1, None)),
    ("gpt-4.1-nano-2025-04-14", "", (0.1, 0.4, 0.025, None)),
    ("gpt-4", "", (30.0, 60.0, None, None)),
    ("gpt-4-turbo-2024-04-09", "", (10.0, 30.0, None, None)),
    ("gpt-3.5-turbo-0125", "", (0.5, 1.5, None, None)),
    ("chatgpt-4o-latest", "", (5.0, 15.0, None, None)),
    ("o1", "openai", (15.0, 60.0, 7.5, None)),
    ("o3-mini-2025-01-31", "", (1.1, 4.4, 0.55, None)),
    ("o4-mini", "", (1.1, 4.4, 0.275, None)),
    ("gpt-5", "", (1.25, 10.0, 0.125, None)),
    ("gpt-5-nano-2025-08-07", "", (0.05, 0.4, 0.005, None)),
    ("text-embedding-3-small", "", (0.02, None, None, None)),
    ("ft:gpt-4o-mini-2024-07-18:acme::Ab12Cd34", "", (0.3, 1.2, None, None)),
    ("ft:gpt-3.5-turbo-0125:acme::Ab12Cd34", "openai", (3.0, 6.0, None, None)),
    # Azure, and paths of routers
    ("gpt-4o", "azure", GPT_4O),
    ("gpt-4o", "azure.ai.openai", GPT_4O),
    ("gpt-35-turbo", "azure_openai", (0.5, 1.5, None, None)),
    ("azure/gpt-4o", "", GPT_4O),
    ("openai/gpt-4o", "", GPT_4O),
    ("openai/gpt-4o", "openai", GPT_4O),
    ("openrouter/openai/gpt-4", "", (30.0, 60.0, None, None)),
    ("litellm_proxy/gpt-4o", "", GPT_4O),
    ("gpt-4o", "our-gateway", GPT_4O),
    ("anthropic/claude-3-5-sonnet-20241022", "litellm", CLAUDE_35),
    ("anthropic/claude-3-5-sonnet-20241022", "openai", CLAUDE_35),
    # Anthropic
    ("claude-3-5-sonnet-20241022", "", CLAUDE_35),
    ("Claude-3-5-Sonnet-20241022", "Anthropic", CLAUDE_35),
    ("claude-3-5-sonnet-latest", "anthropic", CLAUDE_35),
    ("anthropic/claude-3.5-sonnet", "", CLAUDE_35),
    ("claude-3-5-haiku-20241022", "", (0.8, 4.0, 0.08, 1.0)),
    ("claude-3-opus-20240229", "", (15.0, 75.0, 1.5, 18.75)),
    ("claude-3-haiku-20240307", "", (0.25, 1.25, 0.03, 0.3)),
    ("claude-sonnet-4-20250514", "", CLAUDE_35),
    ("claude-opus-4-1-20250805", "", (15.0, 75.0, 1.5, 18.75)),
    # Bedrock
    (SONNET, "", CLAUDE_35),
    (SONNET, "bedrock", CLAUDE_35),
    (SONNET, "anthropic", CLAUDE_35),
    (f"us.{SONNET}", "aws.bedrock", CLAUDE_35),
    ("apac.anthropic.claude-3-5-sonnet-20240620-v1:0", "", CLAUDE_35),
    ("eu.anthropic.claude-3-haiku-20240307-v1:0", "", HAIKU_3_BEDROCK),
    ("global.anthropic.claude-sonnet-4-20250514-v1:0", "", CLAUDE_35),
    (f"bedrock/{SONNET}", "", CLAUDE_35),
    ("bedrock/us-east-1/anthropic.claude-3-haiku-20240307-v1:0", "", HAIKU_3_BEDROCK),
    (f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}", "", CLAUDE_35),
    (ARN + SONNET, "", CLAUDE_35),
    ("bedrock/converse/us.meta.llama3-3-70b-instruct-v1:0", "", (0.72, 0.72, None, None)),
    # Vertex and Gemini
    ("gemini-2.0-flash-001", "", (0.1, 0.4, 0.025, None)),
    ("gemini/gemini-2.0-flash", "", (0.1, 0.4, 0.025, None)),
    ("gemini-1.5-pro-002", "google", (1.25, 5.0, None, None)),
    ("models/gemini-1.5-pro", "", (1.25, 5.0, None, None)),
    ("publishers/google/models/gemini-1.5-pro", "gcp.vertex_ai", (1.25, 5.0, None, None)),
    ("vertex_ai/gemini-2.5-pro", "", (1.25, 10.0, 0.125, None)),
    ("claude-3-5-sonnet@20240620", "", CLAUDE_35),
    ("claude-3-5-sonnet-v2@20241022", "vertex_ai", CLAUDE_35),
    (
        "projects/acme/locations/us-east5/publishers/anthropic/models/claude-3-5-sonnet@20240620",
        "",
        CLAUDE_35,
    ),
    # Others
    ("groq/llama-3.1-8b-instant", "", (0.05, 0.08, None, None)),
    ("llama-3.1-8b-instant", "groq", (0.05, 0.08, None, None)),
    ("xai/grok-3", "", (3.0, 15.0, 0.75, None)),
    ("mistral-large-latest", "mistralai", (2.0, 6.0, None, None)),
    ("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", "", (0.88, 0.88, None, None)),
    ("openrouter/deepseek/deepseek-chat:free", "", (0.0, 0.0, None, None)),
    ("ollama/llama3", "", (0.0, 0.0, None, None)),
]

UNKNOWN = [
    ("", ""),
    ("gpt", ""),
    ("gpt-4-custom", ""),
    ("gpt-4o-custom", "openai"),
    ("demo-model", ""),
    ("my-claude", ""),
    ("claude-opus-4-10", ""),  # not claude-opus-4-1
    ("claude-opus-4-6-fast", ""),  # six times the price of claude-opus-4-6
    ("gemini-1.5-flash-8b", ""),  # half the price of gemini-1.5-flash
    ("deepseek-r1-distill-llama-70b", ""),
    ("deepseek-r1:7b", ""),  # a local model's tag
    ("llama3.2:latest", ""),
    ("azure/our-deployment", ""),
    ("azure/our-o4-mini", ""),
    ("openai/gpt-4o:online", ""),
    ("ft:gpt-4.1-mini-2025-04-14:acme::Ab12Cd34", ""),
    ("davinci:ft-acme-2023-01-01", ""),
    ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", ""),
    ("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123", "bedrock"),
    ("projects/acme/locations/us-central1/endpoints/1234567890", "vertex_ai"),
    ("gpt-4o", "groq"),  # Groq does not serve it
    ("llama-3.1-8b-instant", ""),  # open weights: each host has its own price
    ("meta-llama/Llama-3.3-70B-Instruct", ""),
    ("openai/gpt-oss-120b", ""),
    ("google/gemma-3-27b-it", ""),
    ("deepseek-v3.2", "deepinfra"),  # a host that is not in the list
    ("sonar-pro", "perplexity"),  # charged by the request, too
    ("deepseek-chat", "deepseek"),  # charged by the hour of the day
]


def rates(price: Price | None) -> tuple[float | None, ...] | None:
    return price and (
        price.input_per_mtok,
        price.output_per_mtok,
        price.cache_read_per_mtok,
        price.cache_write_per_mtok,
    )


@pytest.mark.parametrize(("model", "provider", "expected"), KNOWN)
def test_a_real_name_finds_its_price(
    model: str, provider: str, expected: tuple[float | None, ...]
) -> None:
    """Dated names, prefixes, Bedrock and Vertex ids and fine-tunes have their model's price."""
    assert rates(look_up(model, provider)) == expected


@pytest.mark.parametrize(("model", "provider"), UNKNOWN)
def test_a_name_that_only_resembles_a_model_has_no_price(model: str, provider: str) -> None:
    """What is not in the list, or not priced by tokens alone, stays unknown."""
    assert look_up(model, provider) is None


def test_a_price_says_where_it_comes_from() -> None:
    """A price names the list with its version, and the model as the list calls it."""
    price = look_up("openai/gpt-4o-2024-08-06")
    assert price is not None
    assert price.model == "openai/gpt-4o-2024-08-06"
    assert price.source.startswith("genai-prices 0.")
    assert price.matched == "openai/gpt-4o"


def priced(found: Price) -> Prices:
    prices = Prices()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    prepare(connection)
    connection.execute(
        "INSERT INTO model_prices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        tuple(vars(found).values()),
    )
    prices.load(connection)
    connection.close()
    return prices


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("google", "gemini-1.5-flash"),
        ("google", "gemini-2.5-pro"),
        ("aws", "amazon.nova-pro-v1:0"),
    ],
)
@pytest.mark.parametrize(
    "tokens",
    [
        (1000, 500, 0, 0),
        (1000, 500, 400, 300),
        (128_000, 5, 0, 0),
        (128_001, 5, 0, 0),
        (200_000, 1, 200_000, 0),
        (200_001, 1, 150_000, 50_001),
        (900_000, 70_000, 100_000, 100_000),
    ],
)
def test_costs_agree_with_the_library(
    provider: str, model: str, tokens: tuple[int, int, int, int]
) -> None:
    """A stored price, tiers included, gives the cost that the library itself computes."""
    from genai_prices import Usage, calc_price

    found = look_up(model, provider)
    assert found is not None
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    usage = Usage(**dict(zip(names, tokens, strict=True)))
    theirs = calc_price(usage, model, provider_id=provider).total_price
    assert priced(found).cost(model, provider, *tokens) == float(theirs)


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "finer"),
    [
        ("anthropic", "claude-sonnet-4-5", (9_000, 70, 2_000, 5_000), {"cache_write_1h": 3_000}),
        ("anthropic", "claude-sonnet-4-5", (300_000, 70, 0, 5_000), {"cache_write_1h": 5_000}),
        ("openai", "gpt-audio", (1_000, 500, 0, 0), {"audio_in": 600, "audio_out": 499}),
        ("google", "gemini-2.5-flash", (1_000, 500, 0, 0), {"audio_in": 700}),
        (
            "google",
            "gemini-2.5-flash",
            (2_000, 300, 1_500, 0),
            {"audio_in": 2_000} | {"audio_cached": 1_500},
        ),
        (
            "google",
            "gemini-2.5-flash",
            (2_000, 300, 1_000, 0),
            {"audio_in": 1_000} | {"audio_cached": 1_000},
        ),
        (
            "openai",
            "gpt-realtime",
            (1_000, 500, 300, 0),
            {"audio_in": 600, "audio_out": 400} | {"audio_cached": 200},
        ),
        ("openai", "gpt-image-1", (1_000, 500, 0, 0), {"image_in": 999}),
        # Without a price for the cache, what it gave costs what it is.
        (
            "openai",
            "gpt-audio",
            (1_000, 0, 300, 0),
            {"audio_in": 600} | {"audio_cached": 200},
        ),
        ("openai", "gpt-audio", (0, 500, 0, 0), {"audio_out": 400}),
        ("anthropic", "claude-sonnet-4-5", (1_000, 500, 0, 0), {"web_searches": 3}),
    ],
)
def test_costs_of_finer_counts_agree_with_the_library(
    provider: str, model: str, tokens: tuple[int, int, int, int], finer: dict[str, int]
) -> None:
    """A cache for an hour, sound, images and searches have prices of their own."""
    from genai_prices import Usage, calc_price

    found = look_up(model, provider)
    assert found is not None
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    theirs = {
        "cache_write_1h": "cache_write_1h_tokens",
        "audio_in": "input_audio_tokens",
        "audio_cached": "cache_audio_read_tokens",
        "audio_out": "output_audio_tokens",
        "image_in": "input_image_tokens",
        "web_searches": "web_searches",
    }
    usage = dict(zip(names, tokens, strict=True)) | {theirs[name]: finer[name] for name in finer}
    listed = calc_price(Usage(**usage), model, provider_id=provider).total_price
    details = json.dumps({"token_details": finer})
    cost = priced(found).cost(model, provider, *tokens, details)
    assert cost == pytest.approx(float(listed), rel=1e-12)
    assert cost != priced(found).cost(model, provider, *tokens)


def test_the_price_holds_on_the_day_of_the_lookup() -> None:
    """A price with a starting date is the old one before that date."""
    before, after = (look_up("o3", "openai", Day(day)) for day in ("2025-06-09", "2025-06-11"))
    assert rates(before) == (10.0, 40.0, 0.5, None)
    assert rates(after) == (2.0, 8.0, 0.5, None)


class Day:
    """A clock that stands at noon of one day."""

    def __init__(self, day: str) -> None:
        self.ns = int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) * 10**9

    def time_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return 0


OFFLINE = """
import sys
def refuse(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise SystemExit(f"reached out: {event} {args}")
sys.addaudithook(refuse)
from waxlocal.prices.catalogue import look_up
print(look_up("gpt-4o").input_per_mtok)
"""


def test_looking_up_touches_no_network() -> None:
    """A lookup resolves no name and opens no connection."""
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "2.5\n"


def test_recording_loads_no_price_list() -> None:
    """The recorder's half imports neither the library nor what comes with it."""
    code = (
        "import sys, waxlocal.prices.lookup, waxlocal.prices.table\n"
        "print({'genai_prices', 'pydantic', 'httpx', 'sqlite_utils'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout == "set()\n"

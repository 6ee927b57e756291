"""Real clients of the vendors' APIs, pointed at the stand-in.

Each function imports its library: none is needed by whoever does not call it. A client tries
once, so that one call is one request; `options` are the library's own.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = [
    "LITELLM_ENVIRONMENT",
    "anthropic_client",
    "async_anthropic_client",
    "async_openai_client",
    "bedrock_client",
    "google_client",
    "langchain_model",
    "litellm_library",
    "litellm_options",
    "llama_index_model",
    "openai_agents_model",
    "openai_client",
    "pydantic_ai_model",
]

KEY = "sk-stand-in"
# For programs that import litellm: else it asks the network for its prices, for ten seconds.
LITELLM_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}


def openai_client(url: str, **options: Any) -> Any:
    """Return an `openai.OpenAI`."""
    import openai

    return openai.OpenAI(**_openai(url), **options)


def async_openai_client(url: str, **options: Any) -> Any:
    """Return an `openai.AsyncOpenAI`."""
    import openai

    return openai.AsyncOpenAI(**_openai(url), **options)


def _openai(url: str) -> dict[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": KEY, "max_retries": 0}


def anthropic_client(url: str, **options: Any) -> Any:
    """Return an `anthropic.Anthropic`."""
    import anthropic

    return anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0, **options)


def async_anthropic_client(url: str, **options: Any) -> Any:
    """Return an `anthropic.AsyncAnthropic`."""
    import anthropic

    return anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0, **options)


def google_client(url: str, **options: Any) -> Any:
    """Return a `google.genai.Client`; its `aio` is the asynchronous one."""
    from google import genai
    from google.genai import types

    http = types.HttpOptions(base_url=url, retry_options=types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key=KEY, http_options=http, **options)


def bedrock_client(url: str, **options: Any) -> Any:
    """Return a `bedrock-runtime` client of boto3."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        config=Config(retries={"total_max_attempts": 1}, **options),
    )


def litellm_library() -> Any:
    """Return the module `litellm`, which looks for nothing on the network."""
    os.environ.update(LITELLM_ENVIRONMENT)
    import litellm

    return litellm


def litellm_options(url: str, vendor: str = "openai") -> dict[str, Any]:
    """Return the arguments for `litellm.completion` and its like, beside model and messages."""
    base = f"{url}/v1" if vendor == "openai" else url
    return {"api_base": base, "api_key": KEY, "num_retries": 0, "max_retries": 0}


def langchain_model(url: str, model: str = "gpt-4o", **options: Any) -> Any:
    """Return a `langchain_openai.ChatOpenAI`."""
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=model, **_openai(url), **options)


def openai_agents_model(url: str, model: str = "gpt-4o", *, responses: bool = True) -> Any:
    """Return a model for `agents.Agent(model=...)`, over the responses or the chat completions.

    Nothing is sent to OpenAI's page of traces.
    """
    import agents

    client = async_openai_client(url)
    agents.set_tracing_disabled(True)
    kind = agents.OpenAIResponsesModel if responses else agents.OpenAIChatCompletionsModel
    return kind(model=model, openai_client=client)


def llama_index_model(url: str, model: str = "gpt-4o", **options: Any) -> Any:
    """Return a `llama_index.llms.openai.OpenAI`."""
    from llama_index.llms.openai import OpenAI

    return OpenAI(model=model, api_base=f"{url}/v1", api_key=KEY, max_retries=0, **options)


def pydantic_ai_model(url: str, model: str = "gpt-4o") -> Any:
    """Return a model for `pydantic_ai.Agent(...)`, over the chat completions."""
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel(model, provider=OpenAIProvider(openai_client=async_openai_client(url)))

"""Which endpoint a path leads to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from tests.vendors.anthropic_messages import ANTHROPIC, COUNT_TOKENS, MESSAGES
from tests.vendors.bedrock import BEDROCK, CONVERSE, INVOKE
from tests.vendors.endpoint import Endpoint, Vendor
from tests.vendors.google_genai import COUNT, EMBED, EMBED_SEVERAL, GENERATE, GOOGLE
from tests.vendors.openai_chat import CHAT, OPENAI
from tests.vendors.openai_responses import RESPONSES
from tests.vendors.vectors import EMBEDDINGS

__all__ = ["MODELS", "find", "vendor_of"]

# What GET /v1/models lists; requests may name any other model.
MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")

# OpenAI's paths: its own, with or without /v1, and those of a deployment on Azure.
_OPENAI = r"(?:/openai(?:/deployments/(?P<deployment>[^/]+))?)?(?:/v1)?"
# Google's: the Gemini API and Vertex AI.
_GOOGLE = r"/v1[a-z0-9]*/(?:projects/.+/)?models/(?P<model>[^/:]+)"

_ROUTES: tuple[tuple[str, Endpoint], ...] = (
    (_OPENAI + "/chat/completions", CHAT),
    (_OPENAI + "/responses", RESPONSES),
    (_OPENAI + "/embeddings", EMBEDDINGS),
    ("(?:/v1)?/messages", MESSAGES),
    ("(?:/v1)?/messages/count_tokens", COUNT_TOKENS),
    (_GOOGLE + ":(?P<call>generateContent|streamGenerateContent)", GENERATE),
    (_GOOGLE + ":(?P<call>embedContent)", EMBED),
    (_GOOGLE + ":(?P<call>batchEmbedContents)", EMBED_SEVERAL),
    (_GOOGLE + ":(?P<call>countTokens)", COUNT),
    ("/model/(?P<model>[^/]+)/(?P<call>converse|converse-stream)", CONVERSE),
    ("/model/(?P<model>[^/]+)/(?P<call>invoke|invoke-with-response-stream)", INVOKE),
)
_COMPILED = tuple((re.compile(pattern), endpoint) for pattern, endpoint in _ROUTES)


def find(path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
    """Return the endpoint of a POST and the names in its path, or None."""
    for pattern, endpoint in _COMPILED:
        found = pattern.fullmatch(path)
        if found:
            return endpoint, {name: unquote(text or "") for name, text in found.groupdict().items()}
    return None


def vendor_of(path: str, headers: Mapping[str, str]) -> Vendor:
    """Return whose error to answer for a path that leads nowhere."""
    if "anthropic-version" in headers:
        return ANTHROPIC
    if "x-goog-api-key" in headers or "x-goog-api-client" in headers:
        return GOOGLE
    return BEDROCK if path.startswith("/model/") else OPENAI

"""Which model a call was made of, and whose: by the names that the price list knows."""

from __future__ import annotations

import re

from waxlocal.capture.attribute_map import (
    MODEL,
    PROVIDER,
    REQUESTED_MODEL,
    Sources,
    first_count,
    first_text,
)
from waxlocal.capture.facts import Attributes
from waxlocal.capture.vendor_hosts import vendor_at

__all__ = ["client", "model_names", "provider"]

# Whose clients others' servers understand, too.
_SPEAK_TO_MANY = ("openai", "anthropic")
# The names that the price list knows.
PROVIDER_ALIASES = {
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "vertex_ai": "google",
    "vertexai": "google",
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "az.ai.openai": "azure",
    "az.ai.inference": "azure",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "together_ai": "together",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
_LITELLM = "openinference.instrumentation.litellm"
# Instrumentations of one vendor's client, which name the vendor in some of their spans only.
_VENDORS_CLIENTS = {
    f"openinference.instrumentation.{name}": vendor
    for name, vendor in (
        ("cohere", "cohere"), ("groq", "groq"), ("mistralai", "mistral"), ("ollama", "ollama"),
        ("together", "together"), ("vertexai", "google"),
    )
}  # fmt: skip


def model_names(attributes: Attributes) -> tuple[str | None, str | None]:
    """Return the model that answered, and the one that was asked for where it has another name."""
    answered = _model_in(_named(attributes, MODEL))
    asked = _model_in(_named(attributes, REQUESTED_MODEL))
    return answered, asked if asked != answered else None


# Google's paths: `projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash`.
_GOOGLES_PATH = re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/")


def _model_in(name: str | None) -> str | None:
    """Return the name of a model, where it is the last part of a path that Google gives it."""
    path = _GOOGLES_PATH.match(name or "")
    return name if name is None or path is None else name[path.end() :] or name


def _named(attributes: Attributes, sources: Sources) -> str | None:
    """Return the first model that is named: of Pipecat's first call, two keys say "unknown"."""
    named = first_text(attributes, sources)
    if named != "unknown":
        return named
    others = (first_text(attributes, (source,)) for source in sources)
    return next((one for one in others if one is not None and one != "unknown"), None)


def provider(attributes: Attributes, scope: str = "") -> str | None:
    """Return the provider whose price a call has, by the name that the price list knows.

    That of a client which speaks to many is the server's, where its address is known.
    """
    name = client(attributes, scope)
    host = first_text(attributes, ("server.address",))
    if name not in _SPEAK_TO_MANY or host is None:
        return name
    return vendor_at(host, first_count(attributes, ("server.port",))) or name


def client(attributes: Attributes, scope: str = "") -> str | None:
    """Return the provider that the client names: "openai.chat" is "openai"."""
    given = first_text(attributes, PROVIDER)
    if given is None and scope == _LITELLM:
        # It names few vendors; the models of all others begin with one: groq/llama-3.3-70b.
        given = (first_text(attributes, MODEL) or "").rpartition("/")[0].partition("/")[0]
    if not given:
        return _VENDORS_CLIENTS.get(scope)
    name = given.strip().lower()
    return PROVIDER_ALIASES.get(name) or name.partition(".")[0] or None

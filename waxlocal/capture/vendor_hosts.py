"""Whose API a client speaks to: the clients of OpenAI and Anthropic speak to many.

Such a client names its own vendor, whoever answers. The bill is that of the server, so its address
decides. A host that is not in the table says nothing: it may be a proxy of the vendor's.
"""

from __future__ import annotations

__all__ = ["vendor_at"]

# Domains, and the provider by its id in the price list.
_DOMAINS = {
    "api.avian.io": "avian",
    "api.cerebras.ai": "cerebras",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.meta.ai": "meta",
    "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.novita.ai": "novita",
    "api.perplexity.ai": "perplexity",
    "api.together.ai": "together",
    "api.together.xyz": "together",
    "api.x.ai": "x-ai",
    "api.z.ai": "zai",
    "azure-api.net": "azure",
    "cognitiveservices.azure.com": "azure",
    "generativelanguage.googleapis.com": "google",
    "open.bigmodel.cn": "zhipuai",
    "openai.azure.com": "azure",
    "openrouter.ai": "openrouter",
    "services.ai.azure.com": "azure",
}
_HERE = frozenset(("localhost", "127.0.0.1", "::1", "[::1]"))
# Ollama's own port: https://docs.ollama.com/api/openai-compatibility
_OLLAMA_PORT = 11434


def vendor_at(host: str, port: int | None = None) -> str | None:
    """Return the provider whose API a server is, by the name of the price list; None: unknown."""
    name = host.strip().rstrip(".").lower()
    if name in _HERE:
        return "ollama" if port == _OLLAMA_PORT else None
    while name:
        if name in _DOMAINS:
            return _DOMAINS[name]
        name = name.partition(".")[2]
    return None

"""The libraries whose calls are captured, and what captures each: the first that is installed.

OpenTelemetry's GenAI instrumentations come first: they do not report the client's call below a
framework's, and hand over typed messages. OpenInference's cover what those lack.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = [
    "LIBRARIES",
    "Engine",
    "Family",
    "Library",
    "installed_version",
    "is_of_framework",
    "workflow_of",
]


class Family(Enum):
    """Whose instrumentation it is, which says how it is switched on."""

    OTEL = "OpenTelemetry"
    OPEN_INFERENCE = "OpenInference"
    BUILT_IN = "built in"
    OURS = "waxlocal"


class Engine(NamedTuple):
    """What captures a library: the package to install, and its instrumentor.

    `scope` is the name under which it reports; empty: that of its module.
    """

    family: Family
    package: str
    module: str
    instrumentor: str
    scope: str = ""


class Library(NamedTuple):
    """A library: its name in `instrument=[...]`, the module and the distribution it is known by.

    `workflow` names the runs that a call of the framework becomes outside any other. `also` are
    the distributions that bring the same library, each with versions of its own: what captures it
    may name any of them.
    """

    name: str
    module: str
    distribution: str
    engines: tuple[Engine, ...]
    workflow: str = ""
    also: tuple[str, ...] = ()


def _otel(name: str, instrumentor: str) -> Engine:
    package = f"opentelemetry-instrumentation-genai-{name}"
    module = f"opentelemetry.instrumentation.genai.{name.replace('-', '_')}"
    return Engine(Family.OTEL, package, module, f"{instrumentor}Instrumentor")


def _open_inference(name: str, instrumentor: str) -> Engine:
    package = f"openinference-instrumentation-{name}"
    module = f"openinference.instrumentation.{name.replace('-', '_')}"
    return Engine(Family.OPEN_INFERENCE, package, module, f"{instrumentor}Instrumentor")


def _ours(module: str, switch: str, scope: str) -> Engine:
    return Engine(Family.OURS, "opentelemetry-api", f"waxlocal.capture.{module}", switch, scope)


# fmt: off
_GOOGLE = Engine(
    Family.OTEL, "opentelemetry-instrumentation-google-genai",
    "opentelemetry.instrumentation.google_genai", "GoogleGenAiSdkInstrumentor",
)
_PYDANTIC_AI = Engine(Family.BUILT_IN, "opentelemetry-api", "pydantic_ai", "Agent", "pydantic-ai")
_MCP = _ours("mcp_tools", "switch_on", "waxlocal.mcp")
# What traces itself reports under these names to the program's own provider.
_STRANDS = _ours("self_traced", "share_strands", "strands.telemetry.tracer")
_AGENT_FRAMEWORK = _ours("self_traced", "share_agent_framework", "agent_framework")
_GOOGLE_ADK = _ours("self_traced", "share_google_adk", "gcp.vertex.agent")
_ALL = (
    Library("openai", "openai", "openai",
            (_otel("openai", "OpenAI"), _open_inference("openai", "OpenAI"))),
    Library("anthropic", "anthropic", "anthropic",
            (_otel("anthropic", "Anthropic"), _open_inference("anthropic", "Anthropic"))),
    Library("gemini", "google.genai", "google-genai",
            (_GOOGLE, _open_inference("google-genai", "GoogleGenAI"))),
    Library("bedrock", "boto3", "boto3",
            (_otel("bedrock", "Bedrock"), _open_inference("bedrock", "Bedrock")),
            also=("botocore",)),
    Library("litellm", "litellm", "litellm", (_open_inference("litellm", "LiteLLM"),)),
    Library("langchain", "langchain_core", "langchain-core",
            (_otel("langchain", "LangChain"), _open_inference("langchain", "LangChain")),
            workflow="langgraph", also=("langchain", "langgraph")),
    Library("openai_agents", "agents", "openai-agents",
            (_otel("openai-agents", "OpenAIAgents"),
             _open_inference("openai-agents", "OpenAIAgents")), workflow="openai_agents"),
    Library("llamaindex", "llama_index.core", "llama-index-core",
            (_otel("llama-index", "LlamaIndex"), _open_inference("llama-index", "LlamaIndex")),
            workflow="llamaindex", also=("llama-index",)),
    Library("pydanticai", "pydantic_ai", "pydantic-ai-slim", (_PYDANTIC_AI,),
            workflow="pydantic_ai", also=("pydantic-ai",)),
    Library("mcp", "mcp", "mcp", (_MCP,)),
    Library("crewai", "crewai", "crewai", (_open_inference("crewai", "CrewAI"),),
            workflow="crewai"),
    Library("autogen", "autogen_agentchat", "autogen-agentchat",
            (_open_inference("autogen-agentchat", "AutogenAgentChat"),), workflow="autogen"),
    Library("ag2", "autogen", "ag2", (_open_inference("ag2", "AG2"),), workflow="ag2"),
    Library("haystack", "haystack", "haystack-ai", (_open_inference("haystack", "Haystack"),),
            workflow="haystack"),
    Library("agno", "agno", "agno", (_otel("agno", "Agno"), _open_inference("agno", "Agno")),
            workflow="agno"),
    Library("strands", "strands", "strands-agents", (_STRANDS,), workflow="strands"),
    Library("claude_agents", "claude_agent_sdk", "claude-agent-sdk",
            (_open_inference("claude-agent-sdk", "ClaudeAgentSDK"),), workflow="claude_agents"),
    Library("ms_agent_framework", "agent_framework", "agent-framework-core", (_AGENT_FRAMEWORK,),
            workflow="ms_agent_framework"),
    Library("groq", "groq", "groq", (_open_inference("groq", "Groq"),)),
    # A namespace alone: its client is what programs import.
    Library("mistral", "mistralai.client", "mistralai",
            (_open_inference("mistralai", "MistralAI"),)),
    Library("ollama", "ollama", "ollama", (_open_inference("ollama", "Ollama"),)),
    Library("cohere", "cohere", "cohere", (_open_inference("cohere", "Cohere"),)),
    Library("together", "together", "together", (_open_inference("together", "Together"),)),
    Library("instructor", "instructor", "instructor",
            (_open_inference("instructor", "Instructor"),)),
    Library("dspy", "dspy", "dspy",
            (_otel("dspy", "DSPy"), _open_inference("dspy", "DSPy")), workflow="dspy"),
    # OpenTelemetry's reports the agents alone: no steps, no tools.
    Library("smolagents", "smolagents", "smolagents",
            (_open_inference("smolagents", "Smolagents"), _otel("smolagents", "Smolagents")),
            workflow="smolagents"),
    Library("portkey", "portkey_ai", "portkey-ai",
            (_otel("portkey", "Portkey"), _open_inference("portkey", "Portkey"))),
    Library("vertex_ai", "vertexai", "google-cloud-aiplatform",
            (_open_inference("vertexai", "VertexAI"),)),
    Library("google_adk", "google.adk.telemetry.tracing", "google-adk", (_GOOGLE_ADK,),
            workflow="google_adk"),
    Library("beeai", "beeai_framework", "beeai-framework", (_open_inference("beeai", "BeeAI"),),
            workflow="beeai"),
    Library("guardrails_ai", "guardrails", "guardrails-ai",
            (_open_inference("guardrails", "Guardrails"),), workflow="guardrails_ai"),
    Library("qwen_agent", "qwen_agent", "qwen-agent", (_otel("qwen-agent", "QwenAgent"),),
            workflow="qwen_agent"),
    Library("pipecat", "pipecat", "pipecat-ai", (_open_inference("pipecat", "Pipecat"),),
            workflow="pipecat"),
)
# fmt: on
LIBRARIES = {library.name: library for library in _ALL}
_WORKFLOWS = {
    engine.scope or engine.module: library.workflow
    for library in _ALL
    for engine in library.engines
    if library.workflow
}


def installed_version(distribution: str) -> str | None:
    """Return the version of a package that is installed here; imports nothing of it."""
    # Here, because a program that imports none of the libraries should not wait for it.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def is_of_framework(engine: Engine) -> bool:
    """Return whether this reports agents, chains and tools, not the calls of a client."""
    return (engine.scope or engine.module) in _WORKFLOWS


def workflow_of(scope: str, span_name: str = "") -> str:
    """Return the workflow of a run that an instrumentation reports; "" for one of no framework.

    A LangChain chain that is not a graph is named by its class: `RunnableSequence`.
    """
    found = _WORKFLOWS.get(scope, "")
    is_chain = found == "langgraph" and "Runnable" in span_name
    return "langchain" if is_chain else found

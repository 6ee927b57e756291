"""The libraries that the original names, and whether one is installed."""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import ModuleType

__all__ = ["LIBRARIES", "import_library", "is_installed"]

# The name that a program gives to `instrument=[...]`, and what it imports for it (any of several).
# fmt: off
LIBRARIES = {
    "a2a": "a2a", "ag2": "autogen", "agency_swarm": "agency_swarm", "agno": "agno", "ai21": "ai21",
    "annoy": "annoy", "anthropic": "anthropic", "arangodb": "arango", "arize_phoenix": "phoenix",
    "assemblyai": "assemblyai", "autogen": "autogen_agentchat", "aws_polly": "botocore.client",
    "aws_transcribe": "botocore.client", "azure_ai_inference": "azure.ai.inference",
    "azure_content_safety": "azure.ai.contentsafety",
    "azure_speech": "azure.cognitiveservices.speech", "azure_tts": "azure.cognitiveservices.speech",
    "bedrock": "botocore.client", "bedrock_agentcore": "botocore.client",
    "bedrock_agents": "botocore.client", "bentoml": "bentoml", "bge": "FlagEmbedding",
    "braintrust": "braintrust", "camel": "camel", "cartesia": "cartesia",
    "cassandra_vector": "cassandra", "chroma": "chromadb", "claude_agents": "claude_agent_sdk",
    "cohere": "cohere", "colbert": "ragatouille colbert", "composio": "composio",
    "computer_use": "anthropic", "controlflow": "controlflow", "coqui_tts": "TTS",
    "crawl4ai": "crawl4ai", "crewai": "crewai", "cross_encoder": "sentence_transformers",
    "dashscope": "dashscope", "deepagents_fs": "deepagents", "deepeval": "deepeval",
    "deepgram": "deepgram", "dspy": "dspy", "duckdb_vector": "duckdb",
    "e2b": "e2b_code_interpreter e2b", "e5": "sentence_transformers",
    "elasticsearch": "elasticsearch", "elevenlabs": "elevenlabs", "exllamav2": "exllamav2",
    "faiss": "faiss", "fal": "fal_client", "falkordb": "falkordb", "fastembed": "fastembed",
    "faster_whisper": "faster_whisper", "firecrawl": "firecrawl", "flashrank": "flashrank",
    "flux": "diffusers", "framework_memory": "langchain_core llama_index crewai",
    "gemini": "google.genai google.generativeai", "giskard": "giskard", "google_adk": "google.adk",
    "google_cloud_stt": "google.cloud.speech", "google_cloud_tts": "google.cloud.texttospeech",
    "graphrag": "graphrag", "groq": "groq", "guardrails_ai": "guardrails", "guidance": "guidance",
    "haystack": "haystack", "hnswlib": "hnswlib", "huggingface": "huggingface_hub",
    "huggingface_tgi": "text_generation", "inspect_ai": "inspect_ai", "instructor": "instructor",
    "instructor_embeddings": "InstructorEmbedding", "jina": "jina", "julep": "julep",
    "lakera_guard": "lakera", "lancedb": "lancedb", "langchain": "langchain_core.callbacks",
    "langfuse": "langfuse", "langgraph": "langgraph.pregel", "langgraph_remote": "langgraph_sdk",
    "langroid": "langroid", "langsmith": "langsmith", "letta": "letta", "lightrag": "lightrag",
    "litellm": "litellm", "livekit_agents": "livekit.agents", "llama_stack": "llama_stack_client",
    "llamacpp": "llama_cpp", "llamafile": "openai", "llamaindex": "llama_index.core",
    "llm_guard": "llm_guard", "lmql": "lmql", "localai": "openai", "magentic": "magentic",
    "marqo": "marqo", "marvin": "marvin", "mcp": "mcp.client.session", "mcp_agent": "mcp_agent",
    "mcp_server": "mcp.server.lowlevel.server", "mem0": "mem0", "memgraph": "gqlalchemy",
    "meta_llama": "llama_stack_client", "milvus": "pymilvus", "mirascope": "mirascope",
    "mistral": "mistralai", "mixedbread": "mixedbread", "mongodb_vector": "pymongo",
    "ms_agent_framework": "agent_framework", "nemo_guardrails": "nemoguardrails", "neo4j": "neo4j",
    "neptune": "botocore.client", "nomic": "nomic", "ollama": "ollama", "openai": "openai",
    "openai_agents": "agents", "openai_moderation": "openai.resources.moderations",
    "opensearch": "opensearchpy", "opik": "opik", "outlines": "outlines", "pathway": "pathway",
    "pgvector": "pgvector", "pinecone": "pinecone", "pinecone_rerank": "pinecone",
    "pipecat": "pipecat", "playht": "pyht", "polyguard": "polyguard",
    "presidio": "presidio_analyzer", "promptfoo": "promptfoo", "pydanticai": "pydantic_ai",
    "qdrant": "qdrant_client", "r2r": "r2r", "ragas": "ragas", "ragflow": "ragflow_sdk",
    "redis_vector": "redis", "retell": "retell", "scann": "scann", "scrapegraphai": "scrapegraphai",
    "semantic_kernel": "semantic_kernel", "sentence_transformers": "sentence_transformers",
    "sglang": "sglang", "singlestore": "singlestoredb", "smolagents": "smolagents",
    "stable_diffusion": "diffusers", "strands": "strands", "subprocess": "subprocess",
    "supabase": "supabase", "superagi": "superagi", "tei": "huggingface_hub",
    "tensorrt_llm": "tensorrt_llm", "together": "together", "transformers": "transformers",
    "triton": "tritonclient", "trulens": "trulens", "turbopuffer": "turbopuffer",
    "usearch": "usearch.index", "vapi": "vapi", "vectara": "vectara", "vertex_ai": "vertexai",
    "vespa": "vespa", "vllm": "vllm", "voyage": "voyageai", "voyage_rerank": "voyageai",
    "watsonx": "ibm_watsonx_ai", "weaviate": "weaviate", "whisper_cpp": "pywhispercpp",
    "zep": "zep_python",
}
# fmt: on


def is_installed(library: str) -> bool:
    """Return whether a library of `LIBRARIES` can be imported, without importing anything of it."""
    return any(map(_exists, LIBRARIES.get(library, library).split()))


def _exists(module: str) -> bool:
    first, *rest = module.split(".")
    try:
        spec = find_spec(first)
        for name in rest:  # `find_spec` of a dotted name would import the packages around it
            if spec is None:
                return False
            places = spec.submodule_search_locations
            spec = PathFinder.find_spec(name, places and list(places))
    except (ImportError, ValueError):  # ValueError: a module that was put into sys.modules by hand
        return False
    return spec is not None


def import_library(module: str, package: str) -> ModuleType:
    """Import a module of the package; `ModuleNotFoundError` says how to install that."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"No module named {error.name!r}. Try: pip install {package}", name=error.name
        ) from error

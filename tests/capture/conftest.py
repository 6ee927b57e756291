"""What tests with the real libraries share; those of libraries that are not here are not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capture.programs import Start, starter
from tests.vendors.server import VendorServer, vendor_server
from waxlocal.capture.engines import uninstrument
from waxlocal.capture.libraries import installed_version

# `make frameworks` installs all of them, and names the files: then none can be left out.
_FILES = {
    "test_frameworks_bedrock.py": ("boto3", "opentelemetry-instrumentation-genai-bedrock"),
    "test_frameworks_google_genai.py": (
        "google-genai",
        "opentelemetry-instrumentation-google-genai",
    ),
    "test_frameworks_handlers.py": (
        "langchain-openai",
        "langgraph",
        "llama-index-core",
        "opentelemetry-instrumentation-genai-langchain",
        "opentelemetry-instrumentation-genai-llama-index",
    ),
    "test_frameworks_mcp.py": ("mcp",),
    "test_frameworks_langchain.py": (
        "langchain",
        "langchain-openai",
        "langgraph",
        "opentelemetry-instrumentation-genai-langchain",
    ),
    "test_frameworks_litellm.py": ("litellm", "openinference-instrumentation-litellm"),
    "test_frameworks_llama_index.py": (
        "llama-index-llms-openai",
        "opentelemetry-instrumentation-genai-llama-index",
    ),
    "test_frameworks_openai_agents.py": (
        "openai-agents",
        "opentelemetry-instrumentation-genai-openai-agents",
    ),
    "test_frameworks_pydantic_ai.py": ("pydantic-ai-slim",),
}
_STREAMING = ("bedrock", "google_genai", "langchain", "litellm", "llama_index")
_FILES["test_frameworks_streams.py"] = tuple(
    needed for name in _STREAMING for needed in _FILES[f"test_frameworks_{name}.py"]
)


collect_ignore = [
    name for name, needed in _FILES.items() if not all(map(installed_version, needed))
]


@pytest.fixture
def stand_in() -> Iterator[VendorServer]:
    """Return a stand-in for the vendors' APIs."""
    with vendor_server() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, db_path: Path, stand_in: VendorServer) -> Start:
    """Run a program of that text under `waxlocal run`, with options of it."""
    return starter(tmp_path, db_path, stand_in.url)


@pytest.fixture
def uncaptured() -> Iterator[None]:
    """Capture nothing any more after the test."""
    yield
    uninstrument()

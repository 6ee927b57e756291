"""The API does what its own description says, and the description leaves nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode

from tests.tools.cli import recorded
from tests.tools.examples import NOTHING_LEFT_OUT, examples
from tests.tools.patience import PATIENCE_S
from tests.tools.web import serving, url_of
from waxlocal.web.api.openapi import openapi_document
from waxlocal.web.app import routes

KEY = "canary-key-0123456789abcdef"
EXAMPLES = examples(20)


schemathesis.serializer.alias("application/x-ndjson", "text/plain")
api = schemathesis.openapi.from_dict(openapi_document(with_key=True))
# It makes three thousand requests where this module is read, whether or not it is tried.
api.config.phases.coverage.enabled = NOTHING_LEFT_OUT
api.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a file with some runs."""
    path = tmp_path_factory.mktemp("openapi") / "waxlocal.db"
    with recorded(path) as builder:
        first = builder.run("sess_1", user="alice")
        builder.llm(first, cost=0.01)
        builder.span(first, seconds=0.5)
        builder.step(first, "plan")
        builder.score(first, "good", numeric_value=1.0)
        builder.run("sess_1", at=5, parent=first, status="error", error="boom")
    with serving(path, key=KEY) as client:
        yield url_of(client)


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_described(case: schemathesis.Case, address: str) -> None:
    """Good and bad requests of every operation get the answers that the document names."""
    if case.headers.get("Idempotency-Key") and case.meta.generation.mode is GenerationMode.POSITIVE:
        case.headers["Idempotency-Key"] = uuid4().hex  # a key belongs to one request
    case.call_and_validate(base_url=address, headers={"X-Wax-Key": KEY}, timeout=PATIENCE_S)


def test_every_address_is_described() -> None:
    """The document has all addresses of the API with their methods, and no others."""
    served = {
        (re.sub(r":\w+}", "}", route.path), method)
        for route in routes()
        if route.path.startswith("/api/") or route.path in ("/healthz", "/readyz", "/metrics")
        # An empty run id is what the original SDK sends when a start has failed.
        if "//" not in route.path
        for method in route.methods - {"HEAD"}
    }
    described = {
        (path, method.upper())
        for path, methods in openapi_document(with_key=False)["paths"].items()
        for method in methods
    }
    assert served == described

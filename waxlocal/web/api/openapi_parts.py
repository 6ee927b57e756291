"""Building blocks of the OpenAPI document: schemas, parameters, responses, operations."""

from __future__ import annotations

from typing import Any

from waxlocal.queries.filters import MAX_LIMIT, MAX_OFFSET
from waxlocal.web.api.openapi_rows import Json, object_of

__all__ = [
    "LIMIT",
    "OFFSET",
    "PROBLEM",
    "body",
    "gives",
    "in_path",
    "in_query",
    "operation",
    "ordering",
    "paged",
    "problems",
    "ref",
    "text",
    "time",
]

PROBLEM = object_of(
    {
        "type": {"type": "string", "description": "urn:waxlocal:problem: followed by the kind"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "how to fix it"},
    },
    optional=("detail", "hint"),
    description="Problem details (RFC 9457).",
)
_SAID = {
    "400": "The request is invalid.",
    "401": "The API key is missing or wrong.",
    "403": "A page of another site tried to make a change.",
    "404": "Not found.",
    "413": "The body is too large.",
    "415": "The Content-Type or Content-Encoding is not supported.",
    "422": "The Idempotency-Key was used with a different body.",
    "503": "The file is not available now, or the query took too long; retry.",
}
AGO = {"type": "string", "pattern": "^[0-9]{1,9}[smhdw]$"}


def ref(name: str) -> Json:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str, **more: Any) -> Json:
    """Return the schema of a string."""
    return {"type": "string", "description": description, **more}


def gives(schema: Json, description: str, media: str = "application/json") -> Json:
    """Return a response object."""
    return {"description": description, "content": {media: {"schema": schema}}}


def problems(*statuses: str) -> Json:
    """Return the responses for these error statuses, and the default error response."""
    content = {"application/problem+json": {"schema": ref("Problem")}}
    named: Json = {one: {"description": _SAID[one], "content": content} for one in statuses}
    named["503"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return {**named, "default": {"description": "Any other error.", "content": content}}


def in_query(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    """Return a query parameter object."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema,
    }


def in_path(name: str, description: str, **schema: Any) -> Json:
    """Return a path parameter object."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1, **schema},
    }


def time(name: str, description: str) -> Json:
    """Return a query parameter object for a time."""
    forms = [AGO, {"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]
    said = f"{description}: 30m, 24h, 7d, 2w, an ISO date, or an ISO time (UTC without an offset)."
    return in_query(name, {"anyOf": forms}, said)


def ordering(columns: tuple[str, ...], default: str) -> Json:
    """Return the query parameter object for the ordering."""
    allowed = [sign + column for column in columns for sign in ("", "-")]
    schema = {"type": "string", "enum": allowed, "default": default}
    return in_query("ordering", schema, "The field to sort by; with - in descending order.")


LIMIT = in_query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 20},
    "The maximum number of items.",
)
OFFSET = in_query(
    "offset",
    {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
    "The number of items to skip.",
)


def paged(items: Json) -> Json:
    """Return the schema of a page of a list."""
    address = {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]}
    return object_of(
        {
            "count": {"type": "integer", "description": "the total over all pages"},
            "next": address,
            "previous": address,
            "results": {"type": "array", "items": items},
        }
    )


def body(schema: Json, media: str = "application/json") -> Json:
    """Return a request body object."""
    return {"required": True, "content": {media: {"schema": schema}}}


def operation(
    name: str,
    tag: str,
    summary: str,
    answers: Json,
    *,
    parameters: tuple[Json, ...] = (),
    sent: Json | None = None,
    failing: tuple[str, ...] = (),
    description: str = "",
) -> Json:
    """Return an operation object, with the error responses that every operation may return."""
    statuses = {"400", "401", "503", *failing} | ({"403", "413", "415"} if sent else set())
    made: Json = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "responses": {**answers, **problems(*sorted(statuses))},
    }
    if description:
        made["description"] = description
    if parameters:
        made["parameters"] = list(parameters)
    if sent is not None:
        made["requestBody"] = sent
    return made

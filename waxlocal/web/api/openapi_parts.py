"""Parts that the descriptions of operations are put together from."""

from __future__ import annotations

from typing import Any

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
        "type": {"type": "string", "description": "urn:waxlocal:problem: and the kind"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "what to do about it"},
    },
    optional=("detail", "hint"),
    description="Problem details (RFC 9457).",
)
_SAID = {
    "400": "The request cannot be understood.",
    "401": "The key is missing, or not the key of this server.",
    "403": "A page of another site asked for a change.",
    "404": "There is no such thing.",
    "413": "The body is too large.",
    "415": "The body is not valid JSON, or encoded in an unknown way.",
    "422": "The Idempotency-Key came with another body before.",
    "503": "The file cannot be used now, or the question takes too long; try again.",
}
_AGO = {"type": "string", "pattern": "^[1-9][0-9]{0,2}[smhdw]$"}


def ref(name: str) -> Json:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str, **more: Any) -> Json:
    """Return the schema of a text."""
    return {"type": "string", "description": description, **more}


def gives(schema: Json, description: str, media: str = "application/json") -> Json:
    """Return the description of an answer."""
    return {"description": description, "content": {media: {"schema": schema}}}


def problems(*statuses: str) -> Json:
    """Return the answers for these statuses, and for any other that goes wrong."""
    content = {"application/problem+json": {"schema": ref("Problem")}}
    named: Json = {one: {"description": _SAID[one], "content": content} for one in statuses}
    named["503"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return {**named, "default": {"description": "Any other problem.", "content": content}}


def in_query(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    """Return the description of a query parameter."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema,
    }


def in_path(name: str, description: str, **schema: Any) -> Json:
    """Return the description of a part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1, **schema},
    }


def time(name: str, description: str) -> Json:
    """Return the description of a moment."""
    forms = [_AGO, {"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]
    said = f"{description}: 30m, 24h, 7d, 2w, an ISO date, or an ISO time (UTC without an offset)."
    return in_query(name, {"anyOf": forms}, said)


def ordering(columns: tuple[str, ...], default: str) -> Json:
    """Return the description of an order."""
    allowed = [sign + column for column in columns for sign in ("", "-")]
    schema = {"type": "string", "enum": allowed, "default": default}
    return in_query("ordering", schema, "By what to sort; with - the largest first.")


LIMIT = in_query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20},
    "How many at most.",
)
OFFSET = in_query(
    "offset",
    {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
    "How many to leave out first.",
)


def paged(items: Json) -> Json:
    """Return the schema of a page of a list."""
    address = {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]}
    return object_of(
        {
            "count": {"type": "integer", "description": "of all pages"},
            "next": address,
            "previous": address,
            "results": {"type": "array", "items": items},
        }
    )


def body(schema: Json, media: str = "application/json") -> Json:
    """Return the description of what must be sent."""
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
    """Return the description of an operation; what may go wrong anywhere is added."""
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

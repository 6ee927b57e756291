"""Google's generateContent, as the Gemini API and Vertex AI have it, and embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.vendors.answers import Asked, Body, Said, Tool, count_words, pieces
from tests.vendors.endpoint import Endpoint, Vendor, event, list_of, part_texts
from tests.vendors.replies import Fault
from tests.vendors.vectors import vector

__all__ = ["COUNT", "EMBED", "EMBED_SEVERAL", "GENERATE", "GOOGLE"]

_FINISH = {"stop": "STOP", "tools": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}
_PARAMETERS = ("parametersJsonSchema", "parameters_json_schema", "parameters")
_ERRORS = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "The model is not found."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded."),
}


def _error_body(fault: Fault, _request: str) -> Body:
    kind, message = _ERRORS.get(fault.status, ("UNKNOWN", "An unknown error has occurred."))
    return {
        "error": {
            "code": fault.status,
            "message": fault.message or message,
            "status": fault.type or kind,
        }
    }


GOOGLE = Vendor(
    "google",
    "x-request-id",
    _error_body,
    lambda fault, request: event(_error_body(fault, request), newline="\r\n"),
)


def _read(body: Body, path: Mapping[str, str]) -> Asked:
    contents = list_of(body, "contents")
    declared = [
        tool
        for tools in body.get("tools") or ()
        for tool in tools.get("functionDeclarations") or ()
    ]
    config = body.get("generationConfig") or {}
    return Asked(
        model=path["model"],
        body=body,
        texts=[*_texts(body.get("systemInstruction") or {}), *_all_texts(contents)],
        last_user=_last_user(contents),
        tools=[Tool(tool["name"], _schema(tool, *_PARAMETERS) or {}) for tool in declared],
        tool_choice=_tool_choice(body),
        called=_called(contents),
        schema=_schema(config, "responseJsonSchema", "response_json_schema", "responseSchema"),
        stream=path["call"] == "streamGenerateContent",
    )


def _schema(given: Body, *names: str) -> Body | None:
    """Return the first schema there is: Google takes both spellings, and its client sends both."""
    found = [given[name] for name in names if given.get(name)]
    return found[0] if found else None


def _tool_choice(body: Body) -> str:
    config = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    names = config.get("allowedFunctionNames")
    if names:
        return str(names[0])
    return {"ANY": "required", "NONE": "none"}.get(config.get("mode", "AUTO"), "auto")


def _texts(content: Body) -> list[str]:
    return part_texts(content.get("parts"))


def _all_texts(contents: list[Any]) -> Iterator[str]:
    for content in contents:
        yield from _texts(content)
        for part in content.get("parts") or ():
            response = part.get("functionResponse", {}).get("response") or {}
            yield from (value for value in response.values() if isinstance(value, str))


def _last_user(contents: list[Any]) -> str:
    said = [_texts(content) for content in contents if content.get("role", "user") == "user"]
    spoken = [texts for texts in said if texts]
    return " ".join(spoken[-1]) if spoken else ""


def _called(contents: list[Any]) -> frozenset[str]:
    called: set[str] = set()
    for content in contents:
        if content.get("role", "user") == "user" and _texts(content):
            called.clear()
        parts = content.get("parts") or ()
        called.update(part["functionCall"]["name"] for part in parts if "functionCall" in part)
    return frozenset(called)


def _usage(said: Said) -> dict[str, Any] | None:
    """Return the usage; what was thought is not among the candidates' tokens here."""
    used = said.usage
    form: dict[str, Any] = {
        "promptTokenCount": used.tokens_in,
        "candidatesTokenCount": used.tokens_out - used.reasoning,
        "totalTokenCount": used.tokens_in + used.tokens_out,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": used.tokens_in - used.audio_in},
            *([{"modality": "AUDIO", "tokenCount": used.audio_in}] if used.audio_in else ()),
        ],
    }
    # Google leaves out what is nothing.
    if used.cached:
        form["cachedContentTokenCount"] = used.cached
        form["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": used.cached}]
    if used.reasoning:
        form["thoughtsTokenCount"] = used.reasoning
    return said.usage_as(form)


def _parts(said: Said) -> Iterator[dict[str, Any]]:
    """Yield the parts, cut into words."""
    for piece in pieces(said.reasoning):
        yield {"text": piece, "thought": True}
    for piece in pieces(said.text):
        yield {"text": piece}
    for call in said.tool_calls:
        yield {"functionCall": {"id": call.id, "name": call.name, "args": dict(call.arguments)}}


def _whole(_asked: Asked, said: Said) -> Body:
    parts: list[dict[str, Any]] = []
    for part in _parts(said):
        if parts and "text" in part and parts[-1].get("thought") == part.get("thought"):
            parts[-1] = {**part, "text": parts[-1]["text"] + part["text"]}
        else:
            parts.append(part)
    return _response(said, parts, _FINISH.get(said.finish, said.finish))


def _response(said: Said, parts: list[dict[str, Any]], finish: str | None) -> Body:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    response = {
        "candidates": [candidate],
        "modelVersion": said.model,
        "responseId": said.answer_id("response-"),
    }
    usage = _usage(said)
    return response if usage is None else {**response, "usageMetadata": usage}


def _frames(_asked: Asked, said: Said) -> Iterator[bytes]:
    """Yield a chunk for each part; each has the usage, and the last has the reason of the end."""
    parts = list(_parts(said)) or [{"text": ""}]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        finish = _FINISH.get(said.finish, said.finish) if last else None
        yield event(_response(said, [part], finish), newline="\r\n")


def _read_embed(body: Body, path: Mapping[str, str]) -> Asked:
    texts = _texts(body.get("content") or {})
    return Asked(path["model"], body, texts=texts, tool_choice="none")


def _read_embed_several(body: Body, path: Mapping[str, str]) -> Asked:
    requests = list_of(body, "requests")
    texts = [" ".join(_texts(request.get("content") or {})) for request in requests]
    return Asked(path["model"], body, texts=texts, tool_choice="none")


def _embedding(asked: Asked, said: Said) -> Body:
    values = {"values": vector(" ".join(asked.texts))}
    return {"embedding": values, "usageMetadata": {"promptTokenCount": said.usage.tokens_in}}


def _embeddings(asked: Asked, _said: Said) -> Body:
    return {"embeddings": [{"values": vector(text)} for text in asked.texts]}


def _read_count(body: Body, path: Mapping[str, str]) -> Asked:
    request = body.get("generateContentRequest") or body
    return _read(request, path)


def _count(asked: Asked, _said: Said) -> Body:
    return {"totalTokens": sum(map(count_words, asked.texts))}


GENERATE = Endpoint(GOOGLE, _read, _whole, _frames)
EMBED = Endpoint(GOOGLE, _read_embed, _embedding)
EMBED_SEVERAL = Endpoint(GOOGLE, _read_embed_several, _embeddings)
COUNT = Endpoint(GOOGLE, _read_count, _count)

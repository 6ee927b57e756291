"""JSON schemas of the query results, derived from their dataclasses."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["Json", "object_of", "row_schemas"]

Json = dict[str, Any]

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_TIME = {"type": "string", "format": "date-time"}


def row_schemas(*rows: type) -> dict[str, Json]:
    """Return the schemas, by name, of these dataclasses and of those that they refer to."""
    schemas: dict[str, Json] = {}
    waiting = list(rows)
    while waiting:
        row = waiting.pop()
        if row.__name__ in schemas:
            continue
        hints = _hints(row)
        schemas[row.__name__] = {
            "type": "object",
            "description": _first_line(row),
            "required": list(hints),
            "properties": {name: _schema(name, hint) for name, hint in hints.items()},
        }
        waiting += [inner for hint in hints.values() for inner in _referred(hint)]
    return schemas


def _first_line(row: type) -> str:
    return (row.__doc__ or "").strip().partition("\n")[0]


def _hints(row: Any) -> dict[str, Any]:
    """Return the types of the keys that `as_dict` returns: fields, then properties."""
    hints = get_type_hints(row)
    shown = {field.name: hints[field.name] for field in fields(row)}
    for name, member in vars(row).items():
        if isinstance(member, property):
            shown[name] = get_type_hints(member.fget)["return"]
    return shown


def _referred(hint: Any) -> list[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [inner for part in get_args(hint) for inner in _referred(part)]


def _schema(name: str, hint: Any) -> Json:
    if hint is Any:
        return {"description": "decoded JSON"}
    if hint in _PLAIN:
        return dict(_TIME) if hint is str and name.endswith("_at") else {"type": _PLAIN[hint]}
    if isinstance(hint, type) and is_dataclass(hint):
        return {"$ref": f"#/components/schemas/{hint.__name__}"}
    origin, parts = get_origin(hint), get_args(hint)
    if origin is tuple:
        return {"type": "array", "items": _schema("", parts[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema("", parts[1])}
    if origin in (Union, UnionType):
        return _one_of(name, parts)
    raise TypeError(f"no schema for {hint!r}")


def _one_of(name: str, parts: tuple[Any, ...]) -> Json:
    schemas = [_schema(name, part) for part in parts if part is not NoneType]
    if NoneType in parts:
        schemas.append({"type": "null"})
    return {"anyOf": schemas}


def object_of(properties: Json, *, optional: tuple[str, ...] = (), **more: Any) -> Json:
    """Return an object schema; all properties are required except the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, **more}

"""How values of well-known types are read: by the name of the type, never by asking the value.

A recorded value may be a mock that counts its calls, or a proxy that answers each attribute over a
network. So nothing is looked up on a value whose type is not known: what a value is, its type's
method resolution order says, and only then is it read. No library is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

__all__ = ["is_a", "is_message", "is_opaque", "mro", "name_of_type", "reader_of"]

# Takes the known class and a value of it (or of a subclass), returns something plainer.
Reader = Callable[[Any, Any], Any]

# Arrays and tables with more cells than this are described instead of written out.
MAX_CELLS = 100_000


def mro(kind: type) -> tuple[type, ...]:
    """Return a type and its bases, whatever its metaclass says about them."""
    bases: tuple[type, ...] = type.__getattribute__(kind, "__mro__")
    return bases


def name_of_type(kind: type) -> str:
    """Return the name of a type, whatever its metaclass says about it."""
    name: str = type.__dict__["__name__"].__get__(kind)
    return name


def is_a(value: object, *kinds: type) -> bool:
    """Return whether the value's real type is one of these, or derived from one.

    `isinstance` also believes the `__class__` that a mock or a proxy claims.
    """
    kind = type(value)
    if kind in kinds:
        return True
    bases = mro(kind)
    return any(one in bases for one in kinds)


def reader_of(kind: type) -> tuple[Reader, Any] | None:
    """Return what reads values of this type, with the class it is known by; None if none does."""
    for base in mro(kind):
        name = (
            type.__getattribute__(base, "__module__"),
            type.__getattribute__(base, "__qualname__"),
        )
        reader = _READERS.get(name)
        if reader is not None:
            return reader, base
        for mark, marked in _MARKS:
            if mark in type.__getattribute__(base, "__dict__"):
                return marked, base
    return None


def is_opaque(kind: type) -> bool:
    """Return whether even `str(value)` may reach further than the value: mocks, remote proxies."""
    for base in mro(kind):
        if type.__getattribute__(base, "__module__") in _REMOTE:
            return True
        members = type.__getattribute__(base, "__dict__")
        if type(members.get("__getattribute__")) is FunctionType:
            return True
    return False


def is_message(kind: type) -> bool:
    """Return whether values of a type are messages of a known library of models, or their parts."""
    modules = (type.__getattribute__(base, "__module__") for base in mro(kind))
    return any(type(name) is str and name.startswith(_OF_MESSAGES) for name in modules)


_OF_MESSAGES = (
    "langchain_core.messages",
    "langchain_core.prompt_values",
    "llama_index.core.base.llms.types",
    "pydantic_ai.messages",
    "autogen_core.models",
    "autogen_agentchat.messages",
    "haystack.dataclasses",
    "semantic_kernel.contents",
    "openai.types",
    "anthropic.types",
    "google.genai.types",
    "mistralai.models",
    "cohere.types",
)


def _attribute(value: Any, name: str) -> Any:
    """Return an attribute that the value holds itself; no `__getattr__` is asked for it."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def _mapping(_kind: Any, value: Any) -> dict[Any, Any]:
    return dict(dict.items(value))


def _proxy(_kind: Any, value: Any) -> dict[Any, Any]:
    return dict(value.items())


def _items(kind: Any, value: Any) -> list[Any]:
    return list(kind.__iter__(value))


def _tuple(_kind: Any, value: Any) -> Any:
    items = list(tuple.__iter__(value))
    for base in mro(type(value)):
        names = type.__getattribute__(base, "__dict__").get("_fields")
        if type(names) is tuple and len(names) == len(items):
            if all(type(name) is str for name in names):
                return dict(zip(names, items, strict=True))
            break
    return items


def _member(_kind: Any, value: Any) -> Any:
    return _attribute(value, "_value_")


def _iso(kind: Any, value: Any) -> str:
    text: str = kind.isoformat(value)
    return text


def _dataclass(kind: Any, value: Any) -> Any:
    return _named(value, type.__getattribute__(kind, "__dict__")["__dataclass_fields__"])


def _attrs(kind: Any, value: Any) -> Any:
    fields = type.__getattribute__(kind, "__dict__")["__attrs_attrs__"]
    return _named(value, (field.name for field in fields))


def _named(value: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: _attribute(value, name) for name in names}


def _model(_kind: Any, value: Any) -> Any:
    """Return what a Pydantic model's own serializers give: they also leave out what is secret."""
    kind: Any = type(value)
    if hasattr(kind, "model_dump"):
        return kind.model_dump(value, warnings=False)
    return kind.dict(value)  # version 1


def _array(kind: Any, value: Any) -> Any:
    if value.size > MAX_CELLS:
        return _described(value)
    return kind.tolist(value)


def _scalar(kind: Any, value: Any) -> Any:
    item = kind.item(value)
    return str(item) if type(item) is type(value) else item


def _frame(_kind: Any, value: Any) -> Any:
    if value.size > MAX_CELLS:
        return _described(value)
    return {"columns": value.columns.tolist(), "data": value.to_numpy(dtype=object).tolist()}


def _series(_kind: Any, value: Any) -> Any:
    return _described(value) if value.size > MAX_CELLS else value.tolist()


def _described(value: Any) -> dict[str, Any]:
    return {"$array": name_of_type(type(value)), "shape": list(value.shape)}


_READERS: dict[tuple[str, str], Reader] = {
    ("builtins", "dict"): _mapping,
    ("builtins", "mappingproxy"): _proxy,
    ("builtins", "list"): _items,
    ("builtins", "tuple"): _tuple,
    ("builtins", "set"): _items,
    ("builtins", "frozenset"): _items,
    ("builtins", "dict_keys"): _items,
    ("builtins", "dict_values"): _items,
    ("collections", "deque"): _items,
    ("enum", "Enum"): _member,
    ("datetime", "datetime"): _iso,
    ("datetime", "date"): _iso,
    ("datetime", "time"): _iso,
    ("pydantic.main", "BaseModel"): _model,
    ("pydantic.v1.main", "BaseModel"): _model,
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): _scalar,
    # pandas says `pandas` from version 3 on.
    ("pandas.core.frame", "DataFrame"): _frame,
    ("pandas", "DataFrame"): _frame,
    ("pandas.core.series", "Series"): _series,
    ("pandas", "Series"): _series,
    ("pandas.core.indexes.base", "Index"): _series,
    ("pandas", "Index"): _series,
}
# What a decorator leaves on the classes it makes.
_MARKS: tuple[tuple[str, Reader], ...] = (
    ("__dataclass_fields__", _dataclass),
    ("__attrs_attrs__", _attrs),
)
# Their `__str__` is recorded as a call, or is a request to another process.
_REMOTE = frozenset(
    (
        "unittest.mock",
        "mock",
        "mock.mock",
        "multiprocessing.managers",
        "rpyc.core.netref",
        "Pyro5.client",
    )
)

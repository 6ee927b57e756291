"""The names and signatures of the public API, against the SDK's own."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.sdk import types

EXPECTED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "sdk_signatures.json").read_text()
)
HOLDERS: dict[str, Any] = {
    "functions": waxlocal,
    "WaxellContext": WaxellContext,
    "WaxellObserveClient": WaxellObserveClient,
}
METHODS = [
    (holder, name)
    for holder, methods in EXPECTED["classes"].items()
    for name in methods
    if name != "__init__"
]
POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
Parameters = list[tuple[str, str, str | None]]


def parameters(function: Callable[..., Any]) -> Parameters:
    """Return name, kind and default (as its `repr`) of each parameter but `self`."""
    return [
        (p.name, p.kind.name.lower(), None if p.default is p.empty else repr(p.default))
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    ]


# What the original requires and waxlocal does not: `usage=` stands for it.
OPTIONAL_HERE = {"record_llm_call": {"tokens_in", "tokens_out"}}


def assert_accepts(function: Callable[..., Any], expected: list[list[Any]]) -> None:
    """Check that what is written for the expected signature can be said to the function."""
    ours = parameters(function)
    optional = OPTIONAL_HERE.get(function.__name__, set())
    wanted: Parameters = [
        (name, kind, "None" if name in optional else default) for name, kind, default in expected
    ]
    extra = [p for p in ours if p[0] not in {name for name, _, _ in wanted}]
    assert [p for p in ours if p not in extra] == wanted
    assert all(kind == "keyword_only" and default is not None for _, kind, default in extra)


@pytest.mark.parametrize("name", EXPECTED["functions"])
def test_module_function_has_the_sdk_signature(name: str) -> None:
    """Each module function takes what the SDK's does, under the same names and defaults."""
    assert_accepts(getattr(waxlocal, name), EXPECTED["functions"][name])


@pytest.mark.parametrize("name", EXPECTED["classes"])
def test_constructor_has_the_sdk_signature(name: str) -> None:
    """The two classes are made from the same arguments."""
    assert_accepts(getattr(waxlocal, name), EXPECTED["classes"][name]["__init__"])


@pytest.mark.parametrize(("holder", "name"), METHODS)
def test_method_has_the_sdk_signature(holder: str, name: str) -> None:
    """Each method takes what the SDK's does, under the same names and defaults."""
    assert_accepts(getattr(HOLDERS[holder], name), EXPECTED["classes"][holder][name])


@pytest.mark.parametrize("name", EXPECTED["properties"]["WaxellContext"])
def test_property_is_a_property(name: str) -> None:
    """What is read without parentheses in the SDK is a property here."""
    assert isinstance(inspect.getattr_static(WaxellContext, name), property)


@pytest.mark.parametrize("name", EXPECTED["types"])
def test_value_has_the_fields_of_the_sdk(name: str) -> None:
    """Each value type and error is made from the same fields in the same order."""
    kind = getattr(types, name, None) or getattr(waxlocal, name)
    found = [(n, d) for n, k, d in parameters(kind) if k != "keyword_only"]
    expected = [(n, d) for n, _, d in EXPECTED["types"][name]]
    assert [n for n, _ in found] == [n for n, _ in expected]
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        # An unset list or dict is empty; the SDK's text form does not show which.
        assert ours == theirs or (ours == "<factory>" and theirs in (None, "FACTORY"))


@pytest.mark.parametrize("name", EXPECTED["members"])
def test_value_has_the_members_of_the_sdk(name: str) -> None:
    """Properties and methods that programs read on the values are there."""
    assert set(EXPECTED["members"][name]) <= set(dir(getattr(types, name)))


@pytest.mark.parametrize("name", EXPECTED["bases"])
def test_error_descends_as_in_the_sdk(name: str) -> None:
    """`except ObserveError` catches every error of the SDK."""
    base = EXPECTED["bases"][name]
    expected = Exception if base == "Exception" else getattr(waxlocal, base)
    assert getattr(waxlocal, name).__bases__ == (expected,)


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_the_sdk_awaits_is_a_coroutine_function(holder: str) -> None:
    """Exactly the methods that the SDK awaits are coroutine functions."""
    names = EXPECTED["functions"] if holder == "functions" else EXPECTED["classes"][holder]
    found = {n for n in names if inspect.iscoroutinefunction(getattr(HOLDERS[holder], n))}
    assert found == set(EXPECTED["coroutines"][holder])


def test_all_is_sorted_and_is_what_the_module_exposes() -> None:
    """`__all__` names every public object of waxlocal that the module holds, and no other."""
    assert waxlocal.__all__ == sorted(waxlocal.__all__)
    exposed = {
        name
        for name, value in vars(waxlocal).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith("waxlocal")
        and not inspect.ismodule(value)
    }
    assert exposed | set(waxlocal._LATER) | {"__version__"} == set(waxlocal.__all__)


@pytest.mark.parametrize("name", waxlocal.__all__)
def test_every_exported_name_can_be_had(name: str) -> None:
    """Each name of `__all__`, imported at once or on demand, is an attribute."""
    assert getattr(waxlocal, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist is refused as Python refuses one."""
    with pytest.raises(AttributeError, match="no_such_name"):
        waxlocal.no_such_name  # noqa: B018


def test_names_that_are_imported_later_are_those_that_a_type_checker_reads() -> None:
    """What `import waxlocal` loads on demand, it also imports for type checkers, and no more."""
    source = ast.parse(Path(waxlocal.__file__).read_text(encoding="utf-8"))
    (for_checkers,) = (node for node in source.body if isinstance(node, ast.If))
    imported = {
        alias.name
        for node in for_checkers.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(waxlocal._LATER)
    assert imported <= set(dir(waxlocal))


def test_import_and_a_recorded_run_load_nothing_that_they_do_not_need(db_path: Path) -> None:
    """A program that only records has no HTTP client, no command framework, no price list.

    Nor what takes milliseconds of the standard library, nor our own modules of other uses.
    """
    program = (
        "import sys, waxlocal\n"
        "with waxlocal.WaxellContext('a', session_id='s') as ctx:\n"
        "    ctx.record_llm_call(model='m', tokens_in=1, tokens_out=1)\n"
        "print(*sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"WAXLOCAL_DB": str(db_path), "PYTHONPATH": str(Path(waxlocal.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"asyncio", "click", "dataclasses", "genai_prices", "httpx", "inspect", "logging"}
    heavy |= {"pydantic", "rich", "sqlite_utils", "typing_extensions", "urllib.request"}
    heavy |= {"binascii", "email", "importlib", "json", "random", "subprocess", "weakref"}
    heavy |= {f"waxlocal.{module}" for module in waxlocal._MODULES}
    heavy |= {"waxlocal.maintenance", "waxlocal.prices.table", "waxlocal.queries", "waxlocal.wire"}
    loaded = set(done.stdout.split())
    assert loaded & heavy <= always_loaded()
    assert db_path.exists()


def always_loaded() -> set[str]:
    """Return the modules that this Python's own start loads (a `.pth` file may import some)."""
    bare = [sys.executable, "-c", "import sys, sqlite3; print(*sys.modules)"]
    return set(subprocess.run(bare, capture_output=True, text=True, check=True).stdout.split())

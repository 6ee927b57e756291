"""Every public module and name of the published package, imported under `waxlocal run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.published_package import answered, published
from tests.tools.sdk_programs import SHIM, run_python

# Types of what stands for a name that has no meaning here.
STAND_INS = ("_StandIn", "_StandInType")


@pytest.fixture(scope="module")
def original() -> dict[str, dict[str, Any]]:
    return published()


@pytest.fixture(scope="module")
def ours(original: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return answered(original, tmp_path_factory.mktemp("program") / "program.py")


def test_walk_finds_the_package(original: dict[str, dict[str, Any]]) -> None:
    """The comparison is with the whole package: modules of every depth, and their names."""
    assert len(original) > 200
    assert "estimate_cost" in original["waxell_observe.cost"]
    assert "waxell_observe.integrations.claude_code.guard_catalog.files" in original
    assert "OpenAIInstrumentor" in original["waxell_observe.instrumentors.openai_instrumentor"]


def test_every_public_module_is_importable(original: Any, ours: Any) -> None:
    """No module of the published package is missing."""
    assert {place: error for place, error in ours.items() if isinstance(error, str)} == {}


def test_every_public_name_is_importable(original: Any, ours: Any) -> None:
    """No name of a public module is missing."""
    missing = {
        f"{place}.{name}": answer
        for place, answers in ours.items()
        for name, answer in answers.items()
        if isinstance(answer, str)
    }
    assert missing == {}


def test_names_are_of_the_same_kind(original: Any, ours: Any) -> None:
    """An exception can be caught, a class derived from, a function called."""
    wrong = [
        (place, name, kind, answer)
        for place, names in original.items()
        for name, (kind, _) in names.items()
        for answer in [ours[place][name]]
        if answer[2] not in STAND_INS[:1] and answer[0] != kind
    ]
    assert wrong == []


def accepts(ours: list[list[Any]], theirs: list[list[Any]]) -> bool:
    """Return whether what is written for their parameters can be said to ours."""
    kinds = {kind for _, kind, _ in ours}
    known = {name: (kind, default) for name, kind, default in ours}
    for name, kind, default in theirs:
        if name not in known:
            if not kinds >= {"VAR_KEYWORD"}:
                return False
        elif "<" not in str(default) and known[name] != (kind, default):
            return False
    return True


def test_signatures_are_those_of_the_original(original: Any, ours: Any) -> None:
    """What answers takes what the original takes, under the same names and defaults."""
    wrong = []
    for place, names in original.items():
        for name, (kind, theirs) in names.items():
            answer = ours[place][name]
            if kind == "error" or answer[2] in STAND_INS or None in (theirs, answer[1]):
                continue
            if not accepts(answer[1], theirs):
                wrong.append((place, name, theirs, answer[1]))
    assert wrong == []


UNUSABLE = """
from waxell_observe import errors, llm
from waxell_observe.llm.types import Manifest
from waxell_observe.llm_proxy.config import PROVIDERS
from waxell_observe.mcp.decorators import governance
from waxell_observe.llm import DispatchError
from waxell_observe.llm.dispatch import DispatchError as the_same

assert DispatchError is the_same and issubclass(DispatchError, errors.ObserveError)
class Mine(Manifest): pass
for use in (llm.call, Mine, lambda: Manifest.from_dict({}), lambda: PROVIDERS["x"],
            lambda: list(PROVIDERS), lambda: governance(name="x")):
    try:
        use()
    except errors.ObserveError as error:
        print(error, "|", error.hint)
"""


def test_what_has_no_meaning_says_so_when_it_is_used(db_path: Path) -> None:
    """The import succeeds; each use is one error that names the part, with a hint."""
    said = run_python("-c", UNUSABLE, db=db_path, path=(SHIM,)).splitlines()
    assert len(said) == 6
    assert said[0] == (
        "waxell_observe.llm: call is not part of waxlocal | "
        "call the provider's own library, such as openai or anthropic"
    )
    assert all(" is not part of waxlocal | " in line for line in said)


def test_import_of_the_package_makes_none_of_its_modules(db_path: Path) -> None:
    """What a program does not import costs it nothing."""
    program = """
import sys, waxell_observe
made = [name for name in sys.modules if name.startswith(("waxell_observe.", "waxlocal.shim."))]
print(sorted(made))
"""
    names = ("context", "decision", "diagnose", "retrieval", "retry", "step", "tool")
    functions_too = [f"waxell_observe.{name}" for name in names]
    expected = [*functions_too, "waxlocal.shim.modules", "waxlocal.shim.names"]
    assert run_python("-c", program, db=db_path, path=(SHIM,)) == f"{expected}\n"


def test_modules_do_not_replace_functions_of_their_name(db_path: Path) -> None:
    """`waxell_observe.step` stays a function after its module was imported, as in the original."""
    program = """
import waxell_observe, waxlocal
import waxell_observe.step, waxell_observe.context, waxell_observe.diagnose, waxell_observe.cost
from waxell_observe.step import step
from waxell_observe.context import WaxellContext
print(waxell_observe.step is waxlocal.step, waxell_observe.context is WaxellContext)
print(step is waxlocal.step_dec, waxell_observe.diagnose()["initialized"])
span = waxell_observe.tracing.spans.start_tool_span("x")
print(span.is_recording(), waxell_observe.cost.__name__)
print(hasattr(waxell_observe, "nothing"))
"""
    said = run_python("-c", program, db=db_path, path=(SHIM,))
    assert said == "True True\nTrue True\nFalse waxell_observe.cost\nFalse\n"


def test_module_that_the_original_lacks_is_not_found(db_path: Path) -> None:
    """A wrong name is the ordinary error."""
    program = """
for name in ("waxell_observe.nothing", "waxell_observe.llm.nothing",
             "waxell_observe.instrumentors.nothing_instrumentor"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error)
try:
    from waxell_observe.cost import nothing
except ImportError as error:
    print(error)
"""
    said = run_python("-c", program, db=db_path, path=(SHIM,)).splitlines()
    assert said[0] == "No module named 'waxell_observe.nothing'"
    assert len(said) == 4

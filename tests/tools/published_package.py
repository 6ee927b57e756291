"""What the published package `waxell_observe` offers, and what waxlocal answers: two programs.

The first walks the installed package, the second imports the same under `waxlocal run`. Both speak
of a name by its kind and its parameters, so that what differs can be listed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_programs import ROOT

__all__ = ["answered", "published"]

DESCRIBE = """
import inspect, json, sys

def parameters(value):
    try:
        found = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        [p.name, p.kind.name, None if p.default is p.empty else repr(p.default)] for p in found
    ]

def described(value):
    if inspect.isclass(value):
        kind = "error" if issubclass(value, BaseException) else "class"
    else:
        kind = "function" if callable(value) else "value"
    return [kind, parameters(value) if kind in ("function", "class") else None]
"""
WALK = (
    DESCRIBE
    + """
import importlib, pkgutil
import waxell_observe

def is_public(module, name, value):
    if name.startswith("_"):
        return False
    if name in getattr(module, "__all__", ()):
        return True
    home = getattr(value, "__module__", None)
    if name in ("logger", "TYPE_CHECKING") or inspect.ismodule(value):
        return False
    if home is None:
        return True
    shared = str(home).startswith("waxell_observe") and "._" not in str(home)
    return home == module.__name__ or shared

found = {}
inside = waxell_observe.__path__, "waxell_observe."
places = pkgutil.walk_packages(*inside, onerror=lambda name: None)
for place in ("waxell_observe", *(place.name for place in places)):
    if any(part.startswith("_") for part in place.split(".")):
        continue
    try:
        module = importlib.import_module(place)
    except ImportError:  # it needs a library that is not installed; its names are not known
        found[place] = {}
        continue
    found[place] = {
        name: described(value)
        for name, value in vars(module).items()
        if is_public(module, name, value)
    }
json.dump(found, sys.stdout)
"""
)
ANSWER = (
    DESCRIBE
    + """
import importlib

wanted = json.load(sys.stdin)
found = {}
for place, names in wanted.items():
    try:
        module = importlib.import_module(place)
    except Exception as error:
        found[place] = repr(error)
        continue
    found[place] = answered = {}
    for name in names:
        try:
            exec(f"from {place} import {name} as it")
            answered[name] = [*described(it), type(it).__name__]
        except Exception as error:
            answered[name] = repr(error)
json.dump(found, sys.stdout)
"""
)


def published() -> dict[str, dict[str, Any]]:
    """Return the public modules of the installed package: name, kind and parameters of each."""
    command = [sys.executable, "-W", "ignore", "-c", WALK]
    return dict(json.loads(_output(command, WAXELL_OBSERVE="false")))


def answered(wanted: dict[str, dict[str, Any]], program: Path) -> dict[str, Any]:
    """Return what a program under `waxlocal run` gets for each of the names; an error as text."""
    program.write_text(ANSWER)
    command = [sys.executable, "-m", "waxlocal", "run", str(program)]
    return dict(json.loads(_output(command, said=json.dumps(wanted))))


def _output(command: list[str], said: str = "", **environment: str) -> str:
    done = subprocess.run(
        command,
        input=said,
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

"""Which model libraries this Python has, and what captures each, by what pip wrote down.

Nothing of them is imported: that would take seconds, and change what is looked at.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import requires
from importlib.util import find_spec
from typing import NamedTuple

from waxlocal.capture.libraries import LIBRARIES, Engine, Library, installed_version

__all__ = ["InstalledLibrary", "fits", "install_line", "installed_libraries"]

# `openai<4,>=1.26.0; extra == 'instruments'`
_REQUIREMENT = re.compile(r"\s*([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?([^;()]*)\)?\s*(?:;\s*(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]instruments['"]""")
_CLAUSE = re.compile(r"(<=|>=|==|!=|~=|<|>)\s*v?(\d+(?:\.\d+)*)")


class InstalledLibrary(NamedTuple):
    """A library that is installed here.

    `package` is what captures it, or what is to be installed for that where `captured` is false.
    `supports` is the range of versions that the package names, where the installed one is outside:
    the `outside_version` of the distribution `outside`, which is this one or brings it.
    """

    library: str
    distribution: str
    version: str
    captured: bool
    package: str
    package_version: str = ""
    supports: str = ""
    outside: str = ""
    outside_version: str = ""


def installed_libraries() -> list[InstalledLibrary]:
    """Return the known libraries that are installed, as `LIBRARIES` has them in order."""
    found = map(_look_at, LIBRARIES.values())
    return [library for library in found if library is not None]


def _look_at(library: Library) -> InstalledLibrary | None:
    its_version = installed_version(library.distribution)
    if its_version is None:
        return None
    for engine in library.engines:
        engine_version = installed_version(engine.package)
        if engine_version is not None:
            return InstalledLibrary(
                library.name,
                library.distribution,
                its_version,
                True,
                engine.package,
                engine_version,
                *_unsupported(engine, library),
            )
    first = library.engines[0].package
    return InstalledLibrary(library.name, library.distribution, its_version, False, first)


def install_line(packages: Iterable[str]) -> str:
    """Return the command that installs these packages into this environment."""
    python = shlex.quote(sys.executable)
    names = " ".join(map(shlex.quote, packages))
    if find_spec("pip") is None and shutil.which("uv"):
        return f"uv pip install --python {python} {names}"
    return f"{python} -m pip install {names}"


def fits(installed: str, supported: str) -> bool:
    """Return whether a version is in a range like `>=1.26,<4`; what cannot be read says nothing.

    By the numbers alone: of a pre-release, those of the release that it comes before.
    """
    number = re.match(r"v?(\d+(?:\.\d+)*)", installed)
    return number is None or all(
        _holds(_numbers(number[1]), sign, _numbers(bound))
        for sign, bound in _CLAUSE.findall(supported)
    )


def _holds(number: tuple[int, ...], sign: str, bound: tuple[int, ...]) -> bool:
    length = max(len(number), len(bound))
    left, right = (part + (0,) * (length - len(part)) for part in (number, bound))
    if sign == "~=":
        return left >= right and number[: len(bound) - 1] == bound[:-1]
    if sign in ("==", "!="):
        # `== 1.*` compares the numbers that it names.
        return (number[: len(bound)] == bound or left == right) == (sign == "==")
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _unsupported(engine: Engine, library: Library) -> tuple[str, str, str]:
    """Return the range that an instrumentation supports, and what is installed outside it.

    The name of a distribution and its version; all empty if everything fits.
    """
    names = (library.distribution, *library.also)
    for line in requires(engine.package) or ():
        read = _REQUIREMENT.fullmatch(line)
        if read is None or not _EXTRA.search(read[3] or ""):
            continue
        name, supported = _normal(read[1]), read[2].strip()
        its_version = installed_version(name) if name in names else None
        if its_version is not None and not fits(its_version, supported):
            return supported, name, its_version
    return "", "", ""


def _normal(name: str) -> str:
    """Return the name of a distribution as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()

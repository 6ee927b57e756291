"""Asks the package index whether waxlocal installs without a compiler: python -m tests.platforms

For each platform and each Python, every package that would be installed there needs a wheel.
Prints the Markdown table of docs/dependencies.md; exits with 1 if a wheel is missing. Needs the
network, so it is not among the tests. pip reads markers as of the machine it runs on, whatever
`--platform` says: so they are evaluated here, over the packages that are installed here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, distribution
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# Named in the table, one column each.
COMPILED = ("pydantic-core", "markupsafe", "httptools", "uvloop", "watchfiles")


class Platform(NamedTuple):
    """A kind of machine: what pip calls it, and what markers see of it."""

    name: str
    tags: tuple[str, ...]
    system: str
    machine: str


def _linux(name: str, machine: str, *libc: str) -> Platform:
    return Platform(name, tuple(f"{one}_{machine}" for one in libc), "linux", machine)


_GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_5")
_MUSL = ("musllinux_1_2", "musllinux_1_1")
PLATFORMS = (
    _linux("Linux x86-64", "x86_64", *_GLIBC),
    _linux("Linux ARM, 64 bits", "aarch64", *_GLIBC),
    _linux("Linux ARM, 32 bits (v7)", "armv7l", "manylinux_2_31", *_GLIBC),
    _linux("musl x86-64", "x86_64", *_MUSL),
    _linux("musl ARM, 64 bits", "aarch64", *_MUSL),
    _linux("musl ARM, 32 bits (v7)", "armv7l", *_MUSL),
    Platform(
        "macOS ARM",
        ("macosx_14_0_arm64", "macosx_11_0_arm64", "macosx_11_0_universal2"),
        "darwin",
        "arm64",
    ),
    Platform(
        "macOS x86-64",
        ("macosx_13_0_x86_64", "macosx_10_15_x86_64", "macosx_10_12_x86_64", "macosx_10_9_x86_64"),
        "darwin",
        "x86_64",
    ),
    Platform("Windows x86-64", ("win_amd64",), "win32", "AMD64"),
    Platform("Windows ARM", ("win_arm64",), "win32", "ARM64"),
)
# Python for this machine exists from this version on.
FIRST_PYTHON = {"Windows ARM": "3.11"}


def wanted(platform: Platform, python: str) -> dict[str, str]:
    """Return the requirements of an installation there, by the name of the package."""
    there = {
        "sys_platform": platform.system,
        "platform_machine": platform.machine,
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[
            platform.system
        ],
        "os_name": "nt" if platform.system == "win32" else "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    found: dict[str, str] = {}
    waiting = ["waxlocal"]
    while waiting:
        for one in _requirements(waiting.pop()):
            name = canonicalize_name(one.name)
            if name not in found and (one.marker is None or one.marker.evaluate(there)):
                # An exact version belongs to what is installed here, and perhaps not to an older
                # Python; 0.0.1 is how some packages say that they have no wheel.
                pinned = str(one.specifier).startswith("==")
                found[name] = f"{name}>=0.1" if pinned else f"{name}{one.specifier}"
                waiting.append(name)
    return found


def _requirements(name: str) -> Iterator[Requirement]:
    try:
        yield from map(Requirement, distribution(name).requires or ())
    except PackageNotFoundError:  # wanted there alone; all such are pure Python
        return


def resolved(platform: Platform, python: str, requirements: Iterable[str]) -> dict[str, str] | None:
    """Return the versions that pip would install there as wheels, None if one has no wheel."""
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps"]
        command += ["--ignore-installed", "--target", target, "--only-binary", ":all:"]
        command += ["--implementation", "cp", "--python-version", python, "--report", "-"]
        command += [f"--platform={tag}" for tag in platform.tags]
        done = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, check=False, timeout=600
        )
    if done.returncode:
        return None
    found = [one["metadata"] for one in json.loads(done.stdout)["install"]]
    return {canonicalize_name(one["name"]): one["version"] for one in found}


def _looked_up(platform: Platform) -> tuple[dict[str, str], list[str]]:
    """Return what the table says of a platform, and what is missing there."""
    first = FIRST_PYTHON.get(platform.name, PYTHONS[0])
    cells: dict[str, str] = {}
    missing: list[str] = []
    for python in PYTHONS[PYTHONS.index(first) :]:
        requirements = wanted(platform, python)
        found = resolved(platform, python, requirements.values())
        if found is None:
            lacking = [
                name for name, one in requirements.items() if not resolved(platform, python, [one])
            ]
            missing += [f"{name} on {platform.name}, Python {python}" for name in lacking]
        else:
            cells |= {name: found[name] for name in COMPILED if name in found}
    return cells, missing


def main() -> None:
    """Look everything up, and print it."""
    print("| platform | " + " | ".join(f"`{name}`" for name in COMPILED) + " |")
    print("|---" * (len(COMPILED) + 1) + "|")
    lacking: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        for platform, (cells, missing) in zip(
            PLATFORMS, pool.map(_looked_up, PLATFORMS), strict=True
        ):
            row = (cells.get(name, "not installed") for name in COMPILED)
            print(f"| {platform.name} | " + " | ".join(row) + " |")
            lacking += missing
    if lacking:
        sys.exit("no wheel:\n" + "\n".join(f"  {one}" for one in lacking))


if __name__ == "__main__":
    main()

"""`waxlocal doctor`, on environments made of what pip writes down."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.cli import environment, spawn
from waxlocal.capture.installed import fits

GENAI = "opentelemetry-instrumentation-genai-bedrock"


def _install(directory: Path, name: str, version: str, *requirements: str) -> None:
    folder = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
    (folder / "METADATA").write_text("\n".join([*lines, "", ""]))


def _doctor(directory: Path, *options: str, **env: str) -> Any:
    path = os.pathsep.join([str(directory), environment()["PYTHONPATH"]])
    return spawn("doctor", *options, PYTHONPATH=path, **env)


def _said_of(library: str, directory: Path, **env: str) -> Any:
    found = json.loads(_doctor(directory, "--json", **env).stdout)["libraries"]
    return next((one for one in found if one["library"] == library), None)


def test_a_library_that_nothing_captures_is_named_with_the_line_that_adds_it(
    tmp_path: Path,
) -> None:
    """On stderr as any error of the command; the table names what captures the others."""
    _install(tmp_path, "boto3", "1.40.1")
    done = _doctor(tmp_path)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert "boto3" in error
    python = shlex.quote(sys.executable)
    assert hint.startswith(f"Try: {python} -m pip install ")
    assert GENAI in hint.split()
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["boto3", "1.40.1", "nothing"] in rows
    assert ["openai", "opentelemetry-instrumentation-genai-openai"] in [
        [row[0], row[2]] for row in rows if len(row) == 4
    ]


def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Whatever is installed: the exit status is that of the file, and the table is there, too."""
    place = tmp_path / "directory"
    place.mkdir()
    _install(tmp_path, "boto3", "1.40.1")
    done = _doctor(tmp_path, "--db", str(place))
    assert done.returncode == 4
    assert done.stderr.splitlines()[0] == f"Error: {place} is a directory"
    assert "boto3" in done.stdout
    said = json.loads(_doctor(tmp_path, "--json", WAXLOCAL_DB=str(place)).stdout)
    assert said["file_error"] == f"{place} is a directory"


def test_a_file_that_does_not_exist_yet_is_no_error(tmp_path: Path) -> None:
    said = json.loads(_doctor(tmp_path, "--json", "--db", str(tmp_path / "new.db")).stdout)
    assert said["file_error"] is None
    assert not (tmp_path / "new.db").exists()


def test_a_library_whose_package_is_installed_is_captured(tmp_path: Path) -> None:
    _install(tmp_path, "boto3", "1.40.1")
    _install(tmp_path, GENAI, "1.3b0", 'boto3<2,>=1.35; extra == "instruments"')
    said = _said_of("bedrock", tmp_path)
    assert (said["captured"], said["package"], said["package_version"]) == (True, GENAI, "1.3b0")
    assert (said["version"], said["supports"]) == ("1.40.1", None)


def test_a_version_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """It is captured all the same; only what `instruments` says counts."""
    _install(tmp_path, "boto3", "3.0rc1")
    wanted = ("boto3<2,>=1.35; extra == 'instruments'", "boto3==1.0; extra == 'test'", "boto3")
    _install(tmp_path, GENAI, "1.3b0", *wanted)
    assert _said_of("bedrock", tmp_path)["supports"] == "<2,>=1.35"
    assert f"{GENAI} 1.3b0 supports boto3 <2,>=1.35, not 3.0rc1" in _doctor(tmp_path).stdout


CHAIN = "opentelemetry-instrumentation-genai-langchain"


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("langchain-core", "langchain-core"),
        ("langchain", "langchain"),
        ("LangChain", "langchain"),
        ("Langchain_Core", "langchain-core"),
        ("langgraph", "langgraph"),
    ],
)
def test_the_version_is_that_of_the_distribution_that_the_package_names(
    tmp_path: Path, spelled: str, name: str
) -> None:
    """A library may have several, each with versions of its own; any spelling of one will do."""
    if name != "langchain-core":
        _install(tmp_path, "langchain-core", "1.4.0")
    _install(tmp_path, name, "3.1")
    _install(tmp_path, CHAIN, "1.3b0", f"{spelled}<3,>=0.3; extra == 'instruments'")
    said = _said_of("langchain", tmp_path)
    assert (said["supports"], said["outside"], said["outside_version"]) == ("<3,>=0.3", name, "3.1")
    assert f"{CHAIN} 1.3b0 supports {name} <3,>=0.3, not 3.1" in _doctor(tmp_path).stdout


def test_the_versions_of_a_distribution_that_is_not_installed_say_nothing(tmp_path: Path) -> None:
    """The library is there without it; what fits says nothing either."""
    _install(tmp_path, "langchain-core", "4.0")
    wanted = ("langchain<2; extra == 'instruments'", "langchain-core<5; extra == 'instruments'")
    _install(tmp_path, CHAIN, "1.3b0", *wanted)
    said = _said_of("langchain", tmp_path)
    assert (said["captured"], said["supports"], said["outside"]) == (True, None, None)


def test_a_library_that_is_left_out_is_not_missed(tmp_path: Path) -> None:
    _install(tmp_path, "boto3", "1.40.1")
    said = _said_of("bedrock", tmp_path, WAXELL_EXCLUDE="bedrock, openai")
    assert (said["captured"], said["left_out"]) == (False, True)
    done = _doctor(tmp_path, WAXELL_EXCLUDE="bedrock")
    assert GENAI not in done.stderr
    assert "left out by WAXELL_EXCLUDE" in done.stdout


def test_a_library_that_is_not_installed_is_not_named(tmp_path: Path) -> None:
    """Nor one whose package is there without it."""
    _install(tmp_path, GENAI, "1.3b0")
    assert _said_of("bedrock", tmp_path) is None


def test_the_python_of_another_environment_is_named(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    said = json.loads(_doctor(tmp_path, "--json", PATH=str(tmp_path)).stdout)
    assert (said["python"], said["other_python"]) == (sys.executable, str(other))
    here = str(Path(sys.executable).parent)
    assert json.loads(_doctor(tmp_path, "--json", PATH=here).stdout)["other_python"] is None


@pytest.mark.parametrize(
    ("installed", "supported", "expected"),
    [
        ("3.57.0", "<4,>=1.26.0", True),
        ("4", "<4,>=1.26.0", False),
        ("4.0.0b1", "<4,>=1.26.0", False),
        ("1.26", ">=1.26.0", True),
        ("1.9", ">=1.26.0", False),
        ("1.5.2", "~=1.5.0", True),
        ("1.6", "~=1.5.0", False),
        ("2.0", "==2.*", True),
        ("2.0.0", "==2.0", True),
        ("2.1", "!=2.1", False),
        ("2.1", "", True),
        ("unknown", ">=2", True),
        ("2.1", "whatever", True),
    ],
)
def test_a_version_fits_a_range_by_its_numbers(
    installed: str, supported: str, expected: bool
) -> None:
    assert fits(installed, supported) is expected


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.lists(st.integers(0, 30)))
def test_each_version_is_below_a_bound_or_not(number: list[int], bound: list[int]) -> None:
    installed, limit = (".".join(map(str, part or [0])) for part in (number, bound))
    assert fits(installed, f"<{limit}") is not fits(installed, f">={limit}")
    assert fits(installed, f"<={limit}") is not fits(installed, f">{limit}")

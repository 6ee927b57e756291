"""The released 0.2.0, built from the history of this repository, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from io import BytesIO
from pathlib import Path

import pytest

from tests.crash.files import ROOT
from tests.tools.patience import PATIENCE_S

__all__ = ["install_0_2_0"]

# All files of 0.2.0, by the id that git computes from them: the same in every clone, and still the
# same should the commits around it ever be written anew.
TREE = "c685e86b2e9460cafd8e33cf3d72e30ceb9caa42"


def install_0_2_0(place: Path) -> Path:
    """Install 0.2.0 below `place`, and return its Python.

    It finds what this version's environment has installed besides. Without the history the test is
    skipped.
    """
    source = place / "source"
    with tarfile.open(fileobj=BytesIO(_archive())) as archive:
        # Named, because Python 3.12 and 3.13 warn without it; older ones have no such filter.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        archive.extractall(source)
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place), cwd=source)
    (wheel,) = place.glob("waxlocal-0.2.0-*.whl")
    environment = place / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "--python", str(python), *install, str(wheel), cwd=place)
    (packages,) = environment.glob("lib/python*/site-packages")
    others = Path(pytest.__file__).parents[1]
    (packages / "others.pth").write_text(f"{others}\n", encoding="utf-8")
    return python


def _archive() -> bytes:
    made = subprocess.run(
        ["git", "archive", TREE], cwd=ROOT, capture_output=True, timeout=PATIENCE_S, check=False
    )
    if made.returncode == 0:
        return made.stdout
    pytest.skip(f"0.2.0 is not in the history of this checkout: {made.stderr.decode().strip()}")


def _run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=PATIENCE_S)

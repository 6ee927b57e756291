"""What is installed is what is here."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.tools.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_schema_the_types_and_the_shim(tmp_path: Path) -> None:
    """The DDL in the wheel is the repository's, byte for byte, and no module is left behind."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_S)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
        assert wheel.read("waxlocal/schema.sql") == (ROOT / "schema.sql").read_bytes()
    steps = {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("waxlocal/storage/migrations/*.sql")
    }
    assert steps
    assert steps <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "waxlocal").rglob("*.py")}
    assert modules | {"waxlocal/py.typed"} <= names

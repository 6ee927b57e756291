"""Certificates that sign themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.tools.patience import PATIENCE_S

__all__ = ["make_certificate"]


def make_certificate(directory: Path, names: str) -> Path:
    """Make a certificate that signs itself; return the PEM file with it and its key."""
    directory.mkdir()
    made = directory / "made.pem"
    key = directory / "key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += f" -subj /CN=test -addext subjectAltName={names} -keyout {key} -out {made}"
    subprocess.run(command.split(), check=True, capture_output=True, timeout=PATIENCE_S)
    made.write_text(made.read_text() + key.read_text())
    return made

"""Programs that know nothing of waxlocal, under `waxlocal run`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.tools.cli import environment
from tests.tools.patience import PATIENCE_S

__all__ = ["Start", "Started", "starter"]

Started = subprocess.CompletedProcess[str]
Start = Callable[..., Started]

# A module for them, named `asking`.
ASK = """
import openai

def ask(words):
    asked = [{"role": "user", "content": words}]
    answer = openai.OpenAI().chat.completions.create(model="gpt-4o", messages=asked)
    return answer.choices[0].message.content
"""


def starter(place: Path, db_path: Path, vendors: str) -> Start:
    """Return what runs a program of a given text, with options of `waxlocal run`.

    `vendors` is the address of the stand-in for their APIs.
    """
    (place / "asking.py").write_text(ASK)

    def start(text: str, *options: str, python: tuple[str, ...] = (), **env: str) -> Started:
        program = place / "app.py"
        program.write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "waxlocal", "run", *options, *python, str(program)],
            env={
                **environment(WAXLOCAL_DB=str(db_path)),
                "OPENAI_BASE_URL": f"{vendors}/v1",
                "OPENAI_API_KEY": "sk-none",
                **env,
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return start

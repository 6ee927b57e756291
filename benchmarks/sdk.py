"""waxlocal as a program uses it, ready to be timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.workload import AGENT, MODEL, PRICE_IN, PRICE_OUT, Turn
from waxlocal import WaxellContext
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings
from waxlocal.storage.connection import writer

__all__ = ["Sdk", "know_the_price"]

_PRICE = """
INSERT OR IGNORE INTO model_prices (model, provider, input_per_mtok, output_per_mtok, source,
  updated_at)
VALUES (?, '', ?, ?, 'override', '2026-01-01T00:00:00.000000Z')
"""


def know_the_price(path: Path) -> None:
    """Create the file if need be, and let it know the price of the model that is used here."""
    with writer(path) as connection:
        connection.execute(_PRICE, (MODEL, PRICE_IN, PRICE_OUT))


class Sdk:
    """A recorder of its own for one file, and the two units of work."""

    def __init__(self, path: Path, *, durability: str = "normal") -> None:
        know_the_price(path)
        self.recorder = Recorder(Settings(path, durability=durability))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let the process record into this file within the block."""
        before = use_recorder(self.recorder)
        try:
            yield
        finally:
            use_recorder(before)

    def record(self, turn: Turn) -> None:
        """Record one run: its start, its LLM call, its end; three commits."""
        with WaxellContext(
            agent_name=AGENT,
            session_id=turn.session_id,
            user_id=turn.user_id,
            inputs=turn.inputs,
            metadata=turn.metadata,
        ) as context:
            context.record_llm_call(
                model=MODEL,
                tokens_in=turn.tokens_in,
                tokens_out=turn.tokens_out,
                task="chat_response",
            )
            context.set_result(turn.result)

    def record_tutorial(self, turn: Turn) -> None:
        """Record one turn as the tutorial does, with metadata and a tag set on the way."""
        with WaxellContext(
            agent_name=AGENT,
            session_id=turn.session_id,
            user_id=turn.user_id,
            inputs=turn.inputs,
        ) as context:
            context.set_metadata("turn_number", turn.metadata["turn_number"])
            context.set_tag("session_type", "chat")
            context.record_llm_call(
                model=MODEL,
                tokens_in=turn.tokens_in,
                tokens_out=turn.tokens_out,
                task="chat_response",
            )
            context.set_result(turn.result)

    def close(self) -> None:
        """Close the file."""
        self.recorder.close()

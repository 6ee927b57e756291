"""A recording that strains a page without meaning harm: long, right to left, in pictures, empty."""

from __future__ import annotations

from pathlib import Path

from tests.tools.cli import recorded

__all__ = ["LONG_ID", "LONG_MESSAGE", "record_unusual"]

LONG_ID = "a-session-whose-id-somebody-made-of-a-whole-address-" + "x" * 148
LONG_MESSAGE = ("A sentence of ordinary words that goes on for a while. " * 400)[
    :19_990
] + "the-end-ok"
ARABIC = "ما هي ساعات العمل يوم الأحد؟ 11:00 – 17:00"  # noqa: RUF001
HEBREW = "שלום, מתי אתם פותחים?"
EMOJI = "👩‍👩‍👧‍👦 🏳️‍🌈 Is the 📚 open? 🇺🇦"


def record_unusual(path: Path) -> None:
    """Record four sessions: a very long one, two right to left, one of pictures, one of nothing."""
    with recorded(path) as to:
        for turn in range(30):
            run = to.run(
                LONG_ID, at=turn * 60, agent="agent-" + "y" * 120, user="user-" + "z" * 120,
                inputs={"message": LONG_MESSAGE if turn == 0 else "w" * 3_000},
                result={"response": LONG_MESSAGE if turn < 2 else "short"},
            )  # fmt: skip
            to.llm(run, 1_000 + turn * 600, 300, at=turn * 60 + 0.9, cost=0.01 * turn,
                   model="model-" + "m" * 100)  # fmt: skip
        for number, text in enumerate((ARABIC, HEBREW, EMOJI)):
            session = f"s-{text}"
            run = to.run(
                session, at=4_000 + number * 100, agent=text, user=text,
                inputs={"message": text}, result={"response": f"{text} {text}"},
            )  # fmt: skip
            to.span(run, name=text, at=4_000 + number * 100, seconds=0.5, input={"q": text})
            to.llm(run, 10, 5, at=4_000.9 + number * 100, model=text)
        to.run("empty", at=9_000, seconds=None)
        deep = to.run("deep", at=9_100, inputs={"message": "deep"})
        inside = None
        for level in range(30):
            inside = to.span(deep, inside=inside, at=9_100 + level / 100, seconds=0.5,
                             name=f"level {level}")  # fmt: skip

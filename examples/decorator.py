"""Decorated functions: each call of `answer` is a run, its helpers are what happened inside.

python examples/decorator.py
"""

import waxlocal
from waxlocal import WaxellContext

NOTES = {
    "tides": "Two high waters a day, some 12 hours and 25 minutes apart.",
    "neaps": "The smallest tides, a week after new and full moon.",
}


@waxlocal.retrieval(source="notes")
def search(query: str) -> list[dict[str, object]]:
    return [
        {"id": word, "text": text, "score": 1.0}
        for word, text in NOTES.items()
        if word in query.lower()
    ]


@waxlocal.decision(name="route", options=["notes", "apology"])
def choose(found: list[dict[str, object]]) -> dict[str, object]:
    return {"chosen": "notes" if found else "apology", "confidence": 0.9}


@waxlocal.tool(tool_type="text")
def shout(text: str) -> str:
    return text.upper()


@waxlocal.observe(agent_name="note-reader")
def answer(question: str, waxell_ctx: WaxellContext | None = None) -> str:
    found = search(question)
    text = str(found[0]["text"]) if choose(found)["chosen"] == "notes" else "I do not know."
    if waxell_ctx:
        waxell_ctx.record_llm_call(model="gpt-4o-mini", tokens_in=60, tokens_out=12)
    waxlocal.score("grounded", bool(found), "boolean")
    return shout(text)


if __name__ == "__main__":
    # A block gives its session and user to every run inside; a call could also name its own, as
    # answer(..., session_id="...").
    with waxlocal.session(waxlocal.generate_session_id(), user_id="ada"):
        for question in ("What are tides?", "What are neaps?", "What are eels?"):
            print(question, "->", answer(question))

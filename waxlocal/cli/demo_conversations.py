"""The script of `waxlocal demo`: eight conversations at a library's help desk.

Answers, token counts and delays are fixed here. `demo_recording` plays the script; no model is
called.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "CONVERSATIONS",
    "MAIN_SESSION",
    "Act",
    "Ask",
    "Call",
    "Conversation",
    "RateLimited",
    "Search",
    "Tool",
    "Turn",
]

MAIN_SESSION = "sess_00000000000de301"
_HOUR = 3_600.0


@dataclass(frozen=True)
class Call:
    """A model call."""

    model: str
    tokens_in: int
    tokens_out: int
    seconds: float
    cached: int = 0
    provider: str = ""
    task: str = "answer"


@dataclass(frozen=True)
class Search:
    """A retrieval."""

    query: str
    documents: int
    seconds: float


@dataclass(frozen=True)
class Tool:
    """A tool call."""

    name: str
    given: str
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class RateLimited:
    """A model call refused by a rate limit, and the wait before the retry."""

    model: str
    seconds: float


@dataclass(frozen=True)
class Ask:
    """A nested run of another agent."""

    agent: str
    message: str
    answer: str
    acts: tuple[Act, ...]


Act = Call | Search | Tool | RateLimited | Ask


@dataclass(frozen=True)
class Turn:
    """A question and what the agent did; it starts `after` seconds after the previous answer."""

    message: str
    answer: str
    acts: tuple[Act, ...]
    after: float = 0.0
    helpful: float | None = None
    fails: str = ""


@dataclass(frozen=True)
class Conversation:
    """A session that began `ago` seconds before now."""

    session_id: str
    user: str
    ago: float
    turns: tuple[Turn, ...]
    agent: str = "library-desk"
    tags: dict[str, str] = field(default_factory=dict)


def _long_talk() -> tuple[Turn, ...]:
    """Return a conversation that resends its whole history each turn, to an expensive model."""
    questions = (
        (
            "I am writing about the 1927 flood in our valley. Where do I begin?",
            "Begin with the county record for May 1927, then the two local papers.",
        ),
        (
            "What did the papers say in the first week?",
            "The Courier counted 41 houses; the Post printed a list of the missing.",
        ),
        (
            "Which of them should I trust on the numbers?",
            "The Courier: its count matches the insurance survey of 1928.",
        ),
        ("Was anybody held responsible?", "An inquiry named the mill's weir; nobody was charged."),
        (
            "Sum up the inquiry for me, with page numbers.",
            "Cause: pp. 3-9. Witnesses: pp. 10-31. Findings: pp. 32-36. ...",
        ),
        (
            "And now draft the first two pages of my chapter.",
            "On the evening of the eleventh of May the river stood a hand's breadth below the ...",
        ),
    )
    model, turns, context = "claude-opus-4-20250514", [], 1_850
    for number, (message, answer) in enumerate(questions):
        out = 340 + 210 * number
        acts = (Search(message, 6, 0.31), Call(model, context, out, 4.0 + 1.9 * number))
        turns.append(Turn(message, answer, acts, after=48.0 + 11 * number))
        context += out + 2_900
    return tuple(turns)


_CHAT = {"session_type": "chat", "channel": "web"}
_PHONE = {"session_type": "chat", "channel": "phone"}
CONVERSATIONS = (
    Conversation(
        "sess_00000000000de308",
        "frank",
        21.5 * _HOUR,
        (
            Turn(
                "Read me the opening of the book of the week.",
                '"The ferry was late, and so was everybody on it."',
                (Call("reading-voice-7b", 210, 95, 2.2, provider="in-house"),),
            ),
            Turn(
                "Who wrote it?",
                "Ines Waldmann, in 1974; it is her second novel.",
                (Call("reading-voice-7b", 330, 31, 0.9, provider="in-house"),),
                after=19,
            ),
        ),
        tags=_PHONE,
    ),
    Conversation(
        "sess_00000000000de307",
        "erin",
        18.2 * _HOUR,
        _long_talk(),
        agent="archive-guide",
        tags=_CHAT,
    ),
    Conversation(
        "sess_00000000000de306",
        "grace",
        12.7 * _HOUR,
        (
            Turn(
                "Is there a quiet room for four this afternoon?",
                "Yes: room 2 from 14:00 to 16:00. Shall I hold it?",
                (
                    Tool("room_calendar", "today", 6.4),
                    Tool("room_features", "quiet", 5.8),
                    Call("gpt-4o-mini", 640, 41, 1.1),
                ),
            ),
        ),
        tags=_CHAT,
    ),
    Conversation(
        "sess_00000000000de305",
        "dave",
        7.4 * _HOUR,
        (
            Turn(
                "Find everything you have on bridges built before 1900.",
                "61 titles; the three broadest are on the second floor, shelf 624.",
                (
                    Search("bridges before 1900", 61, 6.9),
                    RateLimited("gpt-4o", 8.0),
                    Call("gpt-4o", 7_400, 260, 5.2),
                ),
            ),
            Turn(
                "Which can I take home today, and from which branch?",
                "Two: one from Eastside, one from the main house. The third stays in the hall.",
                (
                    Tool("branch_stock", "main", 2.6),
                    Tool("branch_stock", "eastside", 2.9),
                    Tool("branch_stock", "harbour", 2.4),
                    Call("gpt-4o", 7_950, 120, 3.1),
                ),
                after=65,
                helpful=0.4,
            ),
        ),
        tags=_CHAT,
    ),
    Conversation(
        "sess_00000000000de304",
        "carol",
        3.6 * _HOUR,
        (
            Turn(
                "Renew my loans, please.",
                "All four are yours until the 14th.",
                (
                    Tool("loans", "carol", 0.42),
                    Tool("renew", "4 loans", 0.61),
                    Call("gpt-4o-mini", 420, 24, 0.7),
                ),
            ),
            Turn(
                "And reserve the new atlas for me.",
                "",
                (Tool("catalogue", "atlas", 10.0, "no answer within 10 s"),),
                after=31,
                fails="the catalogue gave no answer within 10 s",
            ),
        ),
        tags=_CHAT,
    ),
    Conversation(
        "sess_00000000000de303",
        "bob",
        1.9 * _HOUR,
        (
            Turn(
                "When do you open tomorrow?",
                "At nine; the reading hall at eight.",
                (Call("gpt-4o-mini", 180, 16, 0.64),),
            ),
        ),
        tags=_PHONE,
    ),
    Conversation(
        "sess_00000000000de302",
        "bob",
        48 * 60.0,
        (
            Turn(
                "What would a nine-year-old like who has read all the dragon books?",
                "Try 'The Lamp Keepers': quieter, but there is a sea monster.",
                (
                    Call("house-embedding-1", 120, 0, 0.2, provider="in-house", task="embed"),
                    Search("like dragons, age 9", 8, 0.44),
                    Call("gpt-4o", 1_640, 88, 1.9, cached=1_024),
                ),
                helpful=1.0,
            ),
            Turn(
                "She would rather have something true.",
                "Then 'How Deep Is the Sea', with photographs.",
                (
                    Ask(
                        "fact-finder",
                        "non-fiction, sea, age 9",
                        "How Deep Is the Sea; Under the Ice",
                        (
                            Search("sea non-fiction age 9", 5, 0.38),
                            Call("gpt-4o-mini", 900, 35, 0.8),
                        ),
                    ),
                    Call("gpt-4o", 1_905, 64, 1.5, cached=1_536),
                ),
                after=74,
                helpful=0.9,
            ),
        ),
        tags=_CHAT,
    ),
    Conversation(
        MAIN_SESSION,
        "alice",
        9 * 60.0,
        (
            Turn(
                "Which of your branches is open on a Sunday?",
                "Harbour is, from 11:00 to 17:00. The others are closed.",
                (Search("opening hours sunday", 3, 0.21), Call("gpt-4o", 312, 58, 0.94)),
                helpful=1.0,
            ),
            Turn(
                "May I bring a book back there that I borrowed at Eastside?",
                "Yes. A book can go back to any branch; when it is closed, use the box outside.",
                (Call("gpt-4o", 405, 71, 1.12),),
                after=96,
            ),
            Turn(
                "And if I am late with it?",
                "Then 20 cents a day, from the second day on. Before that you can renew twice,\n"
                "here or by phone: say the number on the back of your card, and the title.",
                (Tool("fees", "late return", 0.18), Call("gpt-4o", 498, 84, 1.31)),
                after=143,
                helpful=0.8,
            ),
        ),
        tags=_CHAT,
    ),
)

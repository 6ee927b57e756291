"""Who talks when: sessions over sixty days, in the working hours of several time zones."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from waxlocal.cli.scenarios.coding import CODING_ASSISTANT
from waxlocal.cli.scenarios.data import DATA_ANALYST, INVOICE_READER
from waxlocal.cli.scenarios.faults import Fault, any_fault
from waxlocal.cli.scenarios.help_desks import CITY_GUIDE, LIBRARY_DESK, ON_CALL_HELPER
from waxlocal.cli.scenarios.pieces import Agent, Exchange, Topic, filled_exchange, slots
from waxlocal.cli.scenarios.shop import REFUND_DESK
from waxlocal.cli.scenarios.talk import DAY, HOUR, MINUTE, Talk
from waxlocal.cli.scenarios.travel import TRAVEL_PLANNER
from waxlocal.ids import session_id_at

__all__ = ["AGENTS", "DAYS", "STORY_USER", "filled_exchanges", "ordinary_talks"]

DAYS = 60
# Hours between a zone and UTC, from California to Japan, and how many people live there.
_ZONES = {-8.0: 2, -5.0: 4, 0.0: 3, 1.0: 8, 5.5: 3, 9.0: 2}
# Turns of a conversation: often few.
_TURNS = {1: 26, 2: 22, 3: 16, 4: 11, 5: 8, 6: 5, 7: 4, 8: 3, 9: 2, 10: 1, 11: 1, 12: 1}
_USERS = 420
# Of the ordinary talks, none is theirs: they have a story of their own.
STORY_USER = "user-42"
_TEAMS = ("green", "blue", "orange")

AGENTS: tuple[Agent, ...] = (
    REFUND_DESK,
    TRAVEL_PLANNER,
    CODING_ASSISTANT,
    DATA_ANALYST,
    INVOICE_READER,
    LIBRARY_DESK,
    ON_CALL_HELPER,
    CITY_GUIDE,
)


def ordinary_talks(count: int, seed: int, now_ns: int) -> Iterator[Talk]:
    """Yield so many conversations; each depends on the seed and its own number alone."""
    for number in range(count):
        random = Random(f"talk {seed} {number}")
        # Some go on now: the first few of all, then one of every 400.
        is_open = number < 4 or number % 400 == 0
        yield _talk(random, _begin(random, now_ns, is_open=is_open), number, is_open=is_open)


def _begin(random: Random, now_ns: int, *, is_open: bool) -> int:
    """Return a moment of a working day; more often of late, as a shop grows."""
    if is_open:
        return now_ns - random.randint(6, 50) * MINUTE
    midnight = now_ns - now_ns % DAY
    while True:
        days = int(DAYS * random.random() ** 1.3)
        weekday = (midnight // DAY - days + 3) % 7  # 1970 began on a Thursday
        zone = random.choices(list(_ZONES), list(_ZONES.values()))[0]
        hour = random.triangular(7.5, 22.0, 11.0) - zone
        at = midnight - days * DAY + int(hour * HOUR)
        quiet = weekday >= 5 and random.random() < 0.7
        if not quiet and now_ns - DAYS * DAY < at < now_ns - 10 * MINUTE:
            return at


def _talk(random: Random, at: int, number: int, *, is_open: bool) -> Talk:
    agent = random.choices(AGENTS, [one.weight for one in AGENTS])[0]
    topic = random.choice(agent.topics)
    turns = random.choices(list(_TURNS), list(_TURNS.values()))[0]
    exchanges = _exchanges(random, agent, topic, turns)
    pauses = (15.0, 240.0)
    if len(exchanges) > 1 and not is_open and random.random() < 0.06:
        pauses = (6 * 3_600.0, 44 * 3_600.0)  # they come back on another day
    return Talk(
        session_id=_session_id(random, at, number),
        agent=agent,
        users=_users(random),
        starts_ns=at,
        exchanges=exchanges,
        random=random,
        model=random.choice(agent.models),
        faults=_faults(random, len(exchanges)),
        pauses=pauses,
        tags={**topic.tags, "environment": "production" if random.random() < 0.9 else "staging"},
        metadata={
            "release": f"2.{random.randrange(4)}.{random.randrange(10)}",
            "client": {"app": random.choice(("web", "ios", "android")), "language": topic.language},
            "team": random.choice(_TEAMS),
        },
        slowness=random.choice((4.0, 8.0)) if random.random() < 0.04 else 1.0,
        base_tokens=random.randrange(600, 4_000, 100),
        is_cached=agent.shape == "anthropic" and random.random() < 0.8,
        is_metered=random.random() > 0.04,
        is_patient=random.random() < 0.4,
    )


def _session_id(random: Random, at: int, number: int) -> str:
    if number % 9 == 0:  # ids of one's own
        return f"chat-{at // DAY}-{number:05d}"
    return session_id_at(at, random.getrandbits)


def _exchanges(random: Random, agent: Agent, topic: Topic, turns: int) -> list[Exchange]:
    """Return the first exchanges of a topic, and of others of the agent where that is too short."""
    found = filled_exchanges(topic, random)
    further = [one for one in agent.topics if one.language == topic.language and one is not topic]
    while len(found) < turns and further:
        found += filled_exchanges(further.pop(random.randrange(len(further))), random)
    return found[:turns]


def filled_exchanges(topic: Topic, random: Random) -> list[Exchange]:
    """Return the exchanges of a topic with their slots filled, the same in all of them."""
    chosen = slots(random)
    return [filled_exchange(one, chosen) for one in topic.exchanges]


def _users(random: Random) -> tuple[str, ...]:
    fate = random.random()
    if fate < 0.06:
        return ("",)
    if fate < 0.10:
        return (_user(random), _user(random), _user(random))
    return (_user(random),)


def _user(random: Random) -> str:
    """Return a user; a few of them talk a lot."""
    while True:
        number = 1 + int(_USERS * random.random() ** 1.3)
        if f"user-{number}" != STORY_USER:
            return f"user-{number}"


def _faults(random: Random, turns: int) -> dict[int, Fault]:
    return {number: any_fault(random) for number in range(1, turns + 1) if random.random() < 0.055}

"""How long are conversations, how many are given up, what do they cost?

    python examples/session_queries.py [FILE]

FILE is the one that `waxlocal path` prints, unless another is given.
"""

import sys
from collections import Counter

from waxlocal.prices.table import price_pending
from waxlocal.queries import Session, list_sessions, statistics
from waxlocal.storage.connection import reader
from waxlocal.storage.paths import database_path
from waxlocal.wording import counted, money


def turns(sessions: list[Session]) -> None:
    counts = Counter(session.turn_count for session in sessions)
    print(f"Average turns per session: {sum(counts.elements()) / len(sessions):.1f}")
    for count, how_many in sorted(counts.items()):
        print(f"  {counted(count, 'turn')}: {counted(how_many, 'session')}")


def abandonment(sessions: list[Session]) -> None:
    alone = sum(session.turn_count == 1 for session in sessions)
    print(f"Abandonment rate: {alone / len(sessions):.1%}")


def cost(sessions: list[Session]) -> None:
    # A session none of whose models has a known price costs an unknown amount, not nothing.
    costs = sorted(s.total_cost for s in sessions if s.total_cost is not None)
    if costs:
        print(f"Average cost per session: {money(sum(costs) / len(costs))}")
        print(f"P95 cost per session: {money(costs[int(len(costs) * 0.95)])}")


def main() -> None:
    path = database_path(sys.argv[1] if len(sys.argv) > 1 else None)
    price_pending(path)  # models seen for the first time get their price now
    with reader(path) as connection:
        sessions = list_sessions(connection, limit=1000)
        if sessions:
            turns(sessions)
            abandonment(sessions)
            cost(sessions)
        # The same figures, for any number of sessions, in one pass:
        figures = statistics(connection)
        print(f"All {figures.sessions} sessions: {figures.turns} turns")


if __name__ == "__main__":
    main()

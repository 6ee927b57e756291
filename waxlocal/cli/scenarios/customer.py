"""The story of one customer: a broken lamp, two promises, three weeks, and a good end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from waxlocal.cli.scenarios.faults import RATE_LIMITED, Fault
from waxlocal.cli.scenarios.pieces import Exchange, Lookup, SubAgent, Tool
from waxlocal.cli.scenarios.schedule import STORY_USER
from waxlocal.cli.scenarios.shop import REFUND_DESK
from waxlocal.cli.scenarios.talk import DAY, HOUR, Talk

__all__ = ["customer_talks"]

_ORDER = Tool("get_order", {"order": "51842"}, {"item": "reading lamp", "paid": "79.90 EUR"})
_PAYMENTS = SubAgent(
    "payments-checker",
    {"order": "51842", "question": "Was the refund paid out?"},
    "No: the refund was asked for, but never paid out. The bank gave no reason.",
    (Tool("card_payments", {"order": "51842"}, {"refunds": 0}, 1.2),),
)

_BROKEN = (
    Exchange(
        "My reading lamp from order 51842 arrived with a broken shade. I want my money back.",
        "I am sorry about that. Send us a photo, and you get a refund within 14 days; you need "
        "not send the lamp back.",
        (_ORDER, Lookup("damaged on arrival", ("Returns policy", "Damage: what we need"))),
    ),
    Exchange(
        "Here is the photo.",
        "Thank you, the crack is easy to see. The refund of 79.90 euros is on its way.",
        (Tool("start_refund", {"order": "51842", "amount": "79.90"}, {"started": True}),),
        image=True,
    ),
)
_WAITING = (
    Exchange(
        "It is eight days now and there is no refund on my account. Order 51842.",
        "I have started a new search in our payments; it did not answer.",
        (_ORDER, _PAYMENTS),
    ),
)
_CONTRADICTED = (
    Exchange(
        "Third try: where are my 79.90 euros for the broken lamp, order 51842?",
        "For a refund we need the lamp back. Please print the return label in your account.",
        (_ORDER,),
    ),
    Exchange(
        "Your colleague told me that I need not send it back!",
        "That may have been a mistake. The returns policy says that goods are sent back first.",
        (Lookup("refund without return", ("Returns policy",)),),
    ),
    Exchange(
        "Then let me talk to a human, please.",
        "I have asked for somebody of our team to call you.",
        (Tool("hand_over", {"team": "customer care"}, {"position_in_queue": 14}),),
    ),
)
_SOLVED = (
    Exchange(
        "Somebody called me yesterday and said you would know about my lamp. Order 51842.",
        "I do: the first promise counts. The bank had refused the refund because the card has "
        "expired. May I send the 79.90 euros to your bank account instead?",
        (_ORDER, _PAYMENTS),
    ),
    Exchange(
        "Yes, the one I paid the jacket from last year.",
        "Done: 79.90 euros, and a voucher of 15 euros for the trouble. It arrives tomorrow.",
        (
            Tool("find_account", {"order": "jacket, last year"}, {"found": True}),
            Tool("pay_out", {"amount": "79.90"}, {"paid": True}, 2.1),
        ),
    ),
    Exchange(
        "It is there. Thank you for your patience with me.",
        "Thank you for yours! Enjoy the evening.",
    ),
)
_UNPAID = Fault("sub-agent", "PaymentsTimeout", "card_payments: no answer within 30 s", seconds=30)

# What is said, how many days ago, what goes wrong in which turn, and how it was rated.
_PARTS: tuple[
    tuple[Sequence[Exchange], int, dict[int, Fault], dict[int, list[tuple[str, Any, str]]]], ...
] = (
    (_BROKEN, 22, {}, {2: [("satisfaction", 4.0, "quick, and no hassle")]}),
    (_WAITING, 14, {1: _UNPAID}, {}),
    (
        _CONTRADICTED,
        12,
        {2: RATE_LIMITED},
        {2: [("satisfaction", 1.0, "contradicts what I was told")], 3: [("solved", False, "")]},
    ),
    (
        _SOLVED,
        4,
        {},
        {3: [("satisfaction", 5.0, "thank you"), ("solved", True, ""), ("mood", "relieved", "")]},
    ),
)


def customer_talks(seed: int, now_ns: int) -> Iterator[Talk]:
    """Yield the conversations of the customer, the first one first."""
    for number, (exchanges, days, faults, scores) in enumerate(_PARTS, 1):
        yield Talk(
            session_id=f"order-51842-{number}",
            agent=replace(REFUND_DESK, models=("gpt-4o",)),
            users=(STORY_USER,),
            starts_ns=now_ns - days * DAY - (3 + number) * HOUR,
            exchanges=exchanges,
            random=Random(f"customer {seed} {number}"),
            model="gpt-4o",
            faults=faults,
            scores=scores,
            tags={"topic": "refund", "environment": "production"},
            metadata={"order": {"number": 51_842, "lines": [{"item": "reading lamp"}]}},
            is_patient=True,
        )

"""The `Idempotency-Key`: by it a server knows a request that comes again, and does it once.

The header is that of an Internet-Draft, which Stripe and others follow:
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ASK_FOR_NEW_KEY", "HEADER", "MAX_CHARS", "REUSED", "asks_for_new_key", "fits"]

HEADER = "Idempotency-Key"
# What Stripe takes, and the least that any server is known to take.
MAX_CHARS = 255
# The kind of the problem that a waxlocal answers where a key came before, with another body.
REUSED = "key-reused"
# It also says this: it knows each record by what the record says, so that under a new key nothing
# is stored twice. A server that goes by the keys does not say it.
ASK_FOR_NEW_KEY = {"send_again": "with_new_key"}


def fits(key: str) -> bool:
    """Return whether a header can carry a key: with the end of a line in it, it would be two."""
    return key.isascii() and key.isprintable()


def asks_for_new_key(said: Mapping[str, object]) -> bool:
    """Return whether an error answer asks for the same request under a new key."""
    return all(said.get(name) == value for name, value in ASK_FOR_NEW_KEY.items())

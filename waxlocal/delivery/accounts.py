"""Several accounts at one address: each has a row of its own in `targets`, with its own progress.

The first one has the address as its `url`, each further one the address, `#` and its id: what comes
after a `#` is never sent. Which account a key is for, only the server knows; until it has said so,
the account that was sent to last is meant.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from waxlocal.delivery.statements import IS_AT
from waxlocal.delivery.status import TargetStatus, knows_delivery

__all__ = [
    "ALL",
    "CURRENT",
    "NAMED",
    "OF_ACCOUNT",
    "account_of",
    "count_named",
    "current_status",
    "current_target",
    "target_of",
    "url_of_account",
]

# Longer ids are named by their hash.
_LONGEST_ID = 100
# For the writing connection, too.
CURRENT = f"""
SELECT target_id FROM targets WHERE {IS_AT}
ORDER BY coalesce(last_attempt_at, '') DESC, target_id LIMIT 1
"""  # noqa: S608
# In a file of an earlier version no account has a name.
_HAS_NAMES = "SELECT count(*) FROM pragma_table_info('targets') WHERE name = 'account'"
NAMED = f"SELECT count(*) FROM targets WHERE account IS NOT NULL AND {IS_AT}"  # noqa: S608
ALL = f"SELECT target_id FROM targets WHERE {IS_AT}"  # noqa: S608
OF_ACCOUNT = f"SELECT target_id FROM targets WHERE account = :account AND {IS_AT}"  # noqa: S608


def account_of(config: Mapping[str, Any]) -> str | None:
    """Return the account that the server's configuration names; None if it names none."""
    named = config.get("tenant_id")
    if isinstance(named, int) and not isinstance(named, bool):
        named = str(named)
    if not isinstance(named, str) or not named:
        return None
    return named if len(named) <= _LONGEST_ID else _hash_of(named)


def url_of_account(url: str, account: str) -> str:
    """Return what the row of a further account at an address is called."""
    named = quote(account, safe="")
    return f"{url}#{named if len(named) <= _LONGEST_ID else _hash_of(account)}"


def _hash_of(account: str) -> str:
    return sha256(account.encode("utf-8", "replace")).hexdigest()


def count_named(connection: sqlite3.Connection, url: str) -> int:
    """Return how many accounts the server at this address has named."""
    if not connection.execute(_HAS_NAMES).fetchone()[0]:
        return 0
    return int(connection.execute(NAMED, {"url": url}).fetchone()[0])


def current_target(connection: sqlite3.Connection, url: str) -> int | None:
    """Return the number of the account that was sent to last at this address; None if none was."""
    if not knows_delivery(connection):
        return None
    row = connection.execute(CURRENT, {"url": url}).fetchone()
    return None if row is None else int(row[0])


def target_of(connection: sqlite3.Connection, url: str, account: str | None) -> int | None:
    """Return the number of an account; without a name, that of the one that was sent to last."""
    if account is None:
        return current_target(connection, url)
    row = connection.execute(OF_ACCOUNT, {"url": url, "account": account}).fetchone()
    return None if row is None else int(row[0])


def current_status(targets: Iterable[TargetStatus], url: str) -> TargetStatus | None:
    """Return the state of the account that was sent to last at this address."""
    there = [one for one in targets if one.url == url or one.url.startswith(f"{url}#")]
    return max(there, key=lambda one: one.last_attempt_at or "", default=None)

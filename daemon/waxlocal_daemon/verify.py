"""Compares the sessions on a server with those in the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from waxlocal.clock import SYSTEM_CLOCK, Clock, utc_text
from waxlocal.delivery.accounts import count_named, target_of
from waxlocal.delivery.comparison import (
    LocalSession,
    count_sessions,
    delivered_sessions,
    remote_runs,
    session_ids,
)
from waxlocal.errors import ServerUnreachable
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.storage.connection import reader
from waxlocal.storage.forgotten import Forgotten, Tombstone
from waxlocal_daemon.id_set import IdSet
from waxlocal_daemon.remote_account import remote_account
from waxlocal_daemon.remote_runs import OwnRuns, own_runs
from waxlocal_daemon.remote_sessions import RemoteSession, session_pages
from waxlocal_daemon.tls import tls_context

__all__ = ["LISTED", "Difference", "Verification", "make_client", "verify"]

# At most this many findings of each kind are listed; the rest is counted.
LISTED = 1_000
# The relative difference of a sum of costs that another order of adding can cause.
COST_TOLERANCE = 1e-6

ClientFactory = Callable[[UploadSettings], httpx.Client]


@dataclass(frozen=True)
class Difference:
    """A figure of a session that differs between file and server; None where it is missing."""

    session_id: str
    field: str
    here: float | None
    there: float | None


@dataclass(frozen=True)
class Verification:
    """The result of a comparison.

    `checked`: the number of sessions whose runs are all delivered. `missing`: sessions that the
    server does not have. `doubled`: sessions with runs of the file that are there twice; also those
    with more runs there, if the server does not say which. `different`: sessions of whose runs
    there are fewer there, or with other statuses or totals. `waiting`: ids of sessions with pending
    or parked runs. `unlisted` counts the findings beyond the first 1,000 of each kind.
    `asked`: False if nothing was ever sent to the server, which then is not asked for its sessions.
    `account`: whose they are, if the server says it.
    """

    checked: int
    missing: list[Difference]
    doubled: list[Difference]
    different: list[Difference]
    waiting: list[str]
    unlisted: int = 0
    asked: bool = True
    account: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether every delivered session is there once, with the same totals."""
        return not (self.missing or self.doubled or self.different)

    @property
    def lacking(self) -> list[str]:
        """The listed sessions of which the server has no run, or fewer than the file."""
        fewer = [
            one.session_id
            for one in self.different
            if one.field == "run_count" and (one.there or 0) < (one.here or 0)
        ]
        return [*(one.session_id for one in self.missing), *fewer]


def make_client(settings: UploadSettings) -> httpx.Client:
    """Return a client that sends the key only to this server and follows no redirect."""
    return httpx.Client(
        headers=[(b"X-Wax-Key", settings.api_key.header()), (b"Accept", b"application/json")],
        timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        follow_redirects=False,
        verify=tls_context(ca_file=settings.ca_file),
        # The environment is read by our own rules, which the upload follows, too.
        trust_env=False,
        proxy=settings.proxy_url(),
    )


def verify(
    path: Path,
    settings: UploadSettings,
    *,
    client: ClientFactory = make_client,
    clock: Clock = SYSTEM_CLOCK,
) -> Verification:
    """Compare the delivered sessions with the server's list of sessions.

    Sessions that only the server has belong to other devices and are ignored; so are, where it
    lists the runs of a session, those of other devices in the same one. Runs delivered during the
    comparison count as waiting. Uses memory for one page of each side, plus 16 to 32 bytes per
    session in the file. Raises `ServerRefused`, `ServerUnreachable`, `ConfigurationError`
    and `StorageError`.
    """
    began = utc_text(clock.time_ns())
    with reader(path) as connection:
        with client(settings) as http:
            named = count_named(connection, settings.api_url)
            account = remote_account(http, settings) if named else None
            if account is None and named > 1:
                raise ServerUnreachable(f"{settings.api_url} does not say whose the key is")
            target = target_of(connection, settings.api_url, account)
            if target is None:
                return _nothing_delivered(connection)
            of_session = partial(own_runs, http, settings, clock)
            comparison = _Comparison(connection, target, began, clock, of_session)
            comparison.found.account = account
            for page in session_pages(http, settings, clock):
                comparison.compare(page)
        comparison.look_for_missing()
    return comparison.found.verification()


def _nothing_delivered(connection: sqlite3.Connection) -> Verification:
    found = _Findings(asked=False)
    for ids in _all_ids(connection):
        for session_id in ids:
            found.add(found.waiting, session_id)
    return found.verification()


def _all_ids(connection: sqlite3.Connection) -> Iterator[list[str]]:
    page = session_ids(connection)
    while page:
        yield page
        page = session_ids(connection, page[-1])


@dataclass
class _Findings:
    checked: int = 0
    missing: list[Difference] = field(default_factory=list)
    doubled: list[Difference] = field(default_factory=list)
    different: list[Difference] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    unlisted: int = 0
    asked: bool = True
    account: str | None = None

    def add(self, kind: list[Difference] | list[str], found: Difference | str) -> None:
        """List a finding, or count it."""
        if len(kind) < LISTED:
            kind.append(found)  # type: ignore[arg-type]
        else:
            self.unlisted += 1

    def verification(self) -> Verification:
        return Verification(**vars(self))


class _Comparison:
    """Compares both sides, page by page."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        target: int,
        began: str,
        clock: Clock,
        own_runs: Callable[[str, dict[str, bool], float], OwnRuns | None],
    ) -> None:
        self.found = _Findings()
        self._connection = connection
        self._target = target
        self._began = began
        self._clock = clock
        self._own_runs = own_runs
        self._forgotten = Forgotten(connection)
        self._seen = IdSet(count_sessions(connection))

    def compare(self, page: Sequence[RemoteSession]) -> None:
        """Compare a page of the server's sessions with the same sessions in the file."""
        theirs = {session.session_id: session for session in page}
        for here in self._local(list(theirs)):
            # A list that changes while it is read may give a session twice.
            if self._seen.add(here.session_id):
                self._compare(here, theirs[here.session_id])

    def look_for_missing(self) -> None:
        """Find the delivered sessions that were in no page."""
        for ids in _all_ids(self._connection):
            unseen = [session_id for session_id in ids if session_id not in self._seen]
            for here in self._local(unseen):
                if self._is_delivered(here):
                    absent = Difference(here.session_id, "run_count", here.run_count, None)
                    self.found.add(self.found.missing, absent)

    def _local(self, ids: Sequence[str]) -> list[LocalSession]:
        if not ids:
            return []
        now = utc_text(self._clock.time_ns())
        return delivered_sessions(self._connection, self._target, ids, self._began, now)

    def _is_delivered(self, here: LocalSession) -> bool:
        if here.delivered < here.run_count:
            self.found.add(self.found.waiting, here.session_id)
            return False
        self.found.checked += 1
        return True

    def _compare(self, here: LocalSession, there: RemoteSession) -> None:
        delivered = self._is_delivered(here)
        differences = list(_differences(here, there))
        # Others may share the session: which of its runs are ours, the list of its runs says.
        if there.run_count is not None and there.run_count >= here.run_count and differences:
            ours = remote_runs(self._connection, self._target, here.session_id)
            own = self._own_runs(here.session_id, ours, there.run_count)
            if own is not None:
                differences = list(_differences(here, own.session(here.session_id)))
            elif self._forgotten.has(Tombstone.PART, here.session_id):
                return  # what it has more may be what was deleted here on purpose
            if there.run_count > here.run_count and (own is None or own.doubled):
                more = Difference(here.session_id, "run_count", here.run_count, there.run_count)
                self.found.add(self.found.doubled, more)
                return
        if delivered:
            for difference in differences:
                self.found.add(self.found.different, difference)


def _differences(here: LocalSession, there: RemoteSession) -> Iterator[Difference]:
    """Yield the differences in the figures that the server gives."""
    for name in ("run_count", "open_runs", "failed_runs", "total_tokens"):
        ours, theirs = getattr(here, name), getattr(there, name)
        if theirs is not None and ours != theirs:
            yield Difference(here.session_id, name, ours, theirs)
    # The API gives an unknown cost as 0.
    ours, theirs = here.total_cost or 0.0, there.total_cost or 0.0
    if there.has_cost and abs(ours - theirs) > COST_TOLERANCE * max(abs(ours), abs(theirs)):
        yield Difference(here.session_id, "total_cost", here.total_cost, there.total_cost)

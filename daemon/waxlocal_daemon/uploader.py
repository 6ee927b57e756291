"""Uploads the runs that are due to one server, one by one or in batches."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from random import SystemRandom
from typing import NamedTuple

from waxlocal.clock import SYSTEM_CLOCK, Clock, stored_ns, utc_text
from waxlocal.delivery.accounts import account_of
from waxlocal.delivery.outbox import Outbox
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire.bulk import Offer, offer_of
from waxlocal.wire.paths import CONFIG
from waxlocal_daemon.answers import Answer
from waxlocal_daemon.batches import Batches, SentBatch
from waxlocal_daemon.circuit import USUAL_PACE, Circuit, Pace
from waxlocal_daemon.connection import Request
from waxlocal_daemon.doubts import Doubts
from waxlocal_daemon.job import SentPart
from waxlocal_daemon.log import Log
from waxlocal_daemon.sender import UNANSWERED, Sender
from waxlocal_daemon.single_requests import SingleRequests
from waxlocal_daemon.verdicts import Action, Verdict, judge

__all__ = ["Progress", "Uploader"]

# The longest time that `run` lets its caller sleep.
LONGEST_S = 300.0
# Seconds between two checks of the stop event, and between two reports of progress.
LOOK_S = 0.25
TELL_S = 1.0
# Seconds between two questions what the server offers.
ASK_AGAIN_S = 3600.0
# After this many empty responses to the question, the server offers nothing.
ASK_AT_MOST = 3
_WHOSE = "the server does not say whose the key is, and several accounts were sent to"
_RANDOM = SystemRandom()
_ASK = Request("GET", CONFIG, b"")


class Progress(NamedTuple):
    """How far the upload is, in runs; `bytes_sent` in bytes.

    `failures` counts the requests that are sent again, by kind: `network`, `http_503`, `answer` (a
    response that no Waxell server gives).
    """

    delivered: int
    pending: int
    parked: int
    failures: Mapping[str, int]
    bytes_sent: int


class Uploader:
    """The upload of one file to one server.

    For one thread, and one process at a time: the caller holds the lock of the file. After a kill
    at any point the next uploader goes on. A single request is stored in the file before it is
    sent, and is sent again byte for byte. The runs of a batch without an answer are still pending,
    and go in a new batch; the server knows those that it has already. Raises `StorageError`.

    `at` is called with the name of each point at which tests kill the process.
    """

    def __init__(
        self,
        path: Path,
        settings: UploadSettings,
        *,
        log: Log,
        clock: Clock = SYSTEM_CLOCK,
        random: Callable[[], float] = _RANDOM.random,
        pace: Pace = USUAL_PACE,
        on_progress: Callable[[Progress], None] | None = None,
        at: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._random = random
        self._on_progress = on_progress
        self._at = at or _nowhere
        self._pace = pace
        self._batches: Batches | None = None
        self._asked_at: float | None = None
        # What the server offers was not to be had, which may have been of its trouble.
        self._ask_when_resumed = False
        self._said_nothing = 0
        self._doubts_key = False
        # What the server says of the key where it was only asked what it offers (401), and whether
        # it does not say whose the key is, and several accounts were sent to.
        self._said_of_key = ""
        self._account_is_unknown = False
        self._failures: Counter[str] = Counter()
        self._bytes_sent = 0
        # Why a request failed last, in words.
        self.last_failure = ""
        with ExitStack() as opened:  # closed again if what follows fails
            self._outbox = opened.enter_context(closing(Outbox(path, settings.api_url, clock)))
            self._sender = opened.enter_context(closing(Sender(settings)))
            self._take_up()
            opened.pop_all()

    def _take_up(self) -> None:
        """Begin with the account that the outbox is for."""
        self._circuit = Circuit(self._outbox, self._clock, self._random, self._pace)
        self._doubts = Doubts()
        self._single_requests = SingleRequests(
            self._outbox, self._circuit, self._doubts, self._settings, self._log, self._at
        )
        _, self.parked_before = self._outbox.counts()
        # Whether new runs were looked for since, and when for runs that are due.
        self._has_looked = False
        self._looked_at = ""

    def close(self) -> None:
        """Close the connections to the server and the file."""
        self._sender.close()
        self._outbox.close()

    @property
    def reason(self) -> str:
        """Why the upload is waiting, in words; empty if it is not."""
        return self._circuit.reason if self._circuit.troubled else ""

    @property
    def refused(self) -> bool:
        """Whether the server refuses the key, as far as it was tried."""
        return self._circuit.paused or bool(self._said_of_key)

    @property
    def why_unknown(self) -> str:
        """Why nothing is known of what is pending, in words: the key, or whose it is.

        Empty if it is known. `progress` may then have counted the runs of another account.
        """
        if self._said_of_key or self._account_is_unknown or self._circuit.paused:
            return self._said_of_key or self.reason
        return ""

    def progress(self) -> Progress:
        """Return how far the upload is; `delivered` counts the runs of this uploader."""
        pending, parked = self._outbox.counts()
        failures = dict(self._failures)
        return Progress(self._outbox.delivered, pending, parked, failures, self._bytes_sent)

    def run(self, stop: threading.Event) -> float:
        """Upload until nothing is due or `stop` is set; return the seconds until more may be due.

        Then waits at most 8 seconds for the requests in flight; those without a response are sent
        again next time.
        """
        self._take_in(stop)
        told = time.monotonic()
        while not stop.is_set():
            if not self._has_looked:
                self._take_in(stop)
            self._fill()
            if not self._sender.in_flight:
                break
            self._settle_all(self._sender.collect(LOOK_S))
            if time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                self._take_in(stop)
                self._tell()
        self._finish()
        self._outbox.shorten(stop)
        self._tell()
        return self._rest()

    def _take_in(self, stop: threading.Event) -> None:
        if not self._has_looked:
            self._outbox.look_again()
            self._has_looked = True
        while not stop.is_set() and self._outbox.admit():
            self._at("admitted")
        self._outbox.admit_events()
        long_ago = self._clock.time_ns() - int(self._settings.open_after * 1e9)
        self._outbox.reopen(utc_text(long_ago), stop)
        self._outbox.shorten(stop)

    def _fill(self) -> None:
        """Send as many requests as may be sent now."""
        self._looked_at = utc_text(self._clock.time_ns())
        if self._circuit.wait():
            return
        cautious = self._circuit.troubled or self._doubts_key
        if self._must_ask():
            if not self._sender.in_flight:
                self._send(_ASK)
            return
        room = self._room(cautious=cautious)
        if self._batches is not None and room > 0:
            for request in self._batches.requests(room):
                self._send(request)
        room = self._room(cautious=cautious)
        if room > 0:
            for request in self._single_requests.requests(room, begun=self._batches is not None):
                self._send(request)
                if self._room(cautious=cautious) <= 0:  # the more bytes, the fewer at a time
                    break

    def _room(self, *, cautious: bool) -> int:
        """Return how many more requests may leave now."""
        return 1 - self._sender.in_flight if cautious else self._sender.room()

    def _send(self, request: Request) -> None:
        self._bytes_sent += len(request.body)
        self._at("sending")
        self._sender.send(request._replace(openings=self._circuit.openings))

    def _must_ask(self) -> bool:
        return self._asked_at is None or self._circuit.now() - self._asked_at > ASK_AGAIN_S

    def _settle_all(self, answers: list[tuple[Request, Answer]]) -> None:
        if not answers:
            return
        self._at("answered")
        judged = [(request, answer, self._judged(request, answer)) for request, answer in answers]
        with self._outbox.together():
            for request, answer, verdict in judged:
                if answer is UNANSWERED:
                    self._single_requests.take_back(request.about)
                else:
                    self._settle(request, answer, verdict)
        self._at("settled")

    def _judged(self, request: Request, answer: Answer) -> Verdict:
        about = request.about
        records = about.records if about is not None else 0
        needed = about.needed if isinstance(about, SentPart) else ()
        return judge(answer, records=records, needed=needed, now=self._clock.time_ns() / 1e9)

    def _settle(self, request: Request, answer: Answer, verdict: Verdict) -> None:
        about: SentPart | SentBatch | None = request.about
        self._doubts_key = about is None and verdict.action is Action.PAUSE
        self._said_of_key = verdict.reason if self._doubts_key and answer.status == 401 else ""
        if about is None:
            verdict = self._settle_config(answer, verdict)
        elif isinstance(about, SentPart):
            verdict = self._single_requests.settle(about, answer, verdict)
        elif self._batches is not None:
            verdict = self._batches.settle(about, answer, verdict)
            if self._batches.gone and not self._batches.in_flight:
                self._log.event("bulk_gone", level="warning", reason=verdict.reason)
                self._batches.release()
                self._batches = None
                self._ask_when_resumed = True
        self._note(request, answer, verdict)

    def _settle_config(self, answer: Answer, verdict: Verdict) -> Verdict:
        """Note what the server offers; a server without that endpoint offers nothing."""
        if _says_neither(answer, verdict):  # ask again, a few times
            self._said_nothing += 1
            if self._said_nothing < ASK_AT_MOST:
                reason = verdict.reason or f"{answer.status}, but not JSON"
                return Verdict(Action.RETRY, reason, of_host=True)
        elif verdict.action is Action.RETRY:
            return verdict
        self._said_nothing = 0
        account = account_of(verdict.body)
        unnamed = account is None and self._outbox.accounts() > 1
        # A refused key is told as such.
        self._account_is_unknown = unnamed and verdict.action is not Action.PAUSE
        if self._account_is_unknown:
            return Verdict(Action.RETRY, _WHOSE, of_host=True)
        self._asked_at = self._circuit.now()
        self._ask_when_resumed = verdict.action is not Action.DELIVERED
        if not self._doubts_key:  # what another key was offered before stays
            self._take_account(account)
            self._take_offer(offer_of(verdict.body) if self._settings.bulk else None)
        # The key may record and not read this, the response cannot be read, or nothing knows this
        # path: the requests of one run will show which.
        return verdict if verdict.action is Action.DELIVERED else Verdict(Action.PARK, "")

    def _take_account(self, account: str | None) -> None:
        """Go on with the account that the key is for: it has not got what another one has."""
        if account is None:
            return
        target_id = self._outbox.take_account(account)
        if target_id == self._outbox.target.target_id:
            return
        self._release()
        self._batches = None
        self._outbox.take_up(target_id)
        self._take_up()
        self._log.event("account", account=account)

    def _release(self) -> None:
        """Let go of the runs in hand."""
        self._single_requests.release()
        if self._batches is not None:
            self._batches.release()

    def _take_offer(self, offer: Offer | None) -> None:
        if offer is None:
            if self._batches is not None:
                self._batches.release()
            self._batches = None
        elif self._batches is None:
            self._batches = Batches(
                self._outbox,
                self._circuit,
                self._doubts,
                self._settings,
                offer,
                self._log,
                self._at,
            )

    def _note(self, request: Request, answer: Answer, verdict: Verdict) -> None:
        """Open or close the circuit according to what a response says about the server."""
        circuit, was = self._circuit, self._circuit.troubled
        if verdict.action in (Action.RETRY, Action.PAUSE):
            self._failures[_kind_of(answer)] += 1
            self.last_failure = verdict.reason
        if verdict.of_nobody:
            return
        if verdict.action is Action.RETRY:
            opened = circuit.failed(
                verdict.reason,
                openings=request.openings,
                of_host=verdict.of_host,
                retry_after=verdict.retry_after,
            )
            if opened and (not was or circuit.failures in (3, 10)):
                self._say_waiting(verdict.reason)
        elif verdict.action is Action.PAUSE:
            if circuit.refused(verdict.reason, openings=request.openings):
                self._log.event("paused", level="error", reason=verdict.reason)
            # Another key may be offered batches. Runs that were begun by single requests go on so.
            self._asked_at = None
        else:
            uploads = request.about is not None  # only then is accepting it a success
            taken = verdict.action is Action.DELIVERED
            # A server that tells what it offers may still fail to take a run.
            healed = taken and (uploads or not self._outbox.counts()[0])
            # Of a run that is parked it is known that the server takes others.
            parked = verdict.action is Action.PARK and isinstance(request.about, SentPart)
            circuit.answered(
                openings=request.openings,
                accepted=uploads and taken,
                refused=not (healed or parked),
            )
        if was and not circuit.troubled:
            self._log.event("resumed")
            if self._ask_when_resumed:
                self._asked_at = None

    def _say_waiting(self, reason: str) -> None:
        failures, seconds = self._circuit.failures, round(self._circuit.wait(), 1)
        self._log.event(
            "waiting", level="warning", reason=reason, failures=failures, seconds=seconds
        )

    def _finish(self) -> None:
        """Wait a little for the requests in flight, then release all runs."""
        deadline = time.monotonic() + self._pace.stop
        while self._sender.in_flight and (left := deadline - time.monotonic()) > 0:
            self._settle_all(self._sender.collect(min(left, LOOK_S)))
        if self._sender.in_flight:
            self._sender.forget()
        with self._outbox.together():
            self._release()

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.progress())

    def _rest(self) -> float:
        if wait := self._circuit.wait():
            return min(wait, LONGEST_S)
        # Not from now on: a run that has become due since then would be slept over.
        due = stored_ns(self._outbox.next_due(self._looked_at))
        if due is None:
            return LONGEST_S
        return min(max((due - self._clock.time_ns()) / 1e9, 0.0), LONGEST_S)


def _says_neither(answer: Answer, verdict: Verdict) -> bool:
    """Return whether a server accepted the question, but its response cannot be used."""
    if answer.status is None or not 200 <= answer.status < 300 or verdict.of_host:
        return False
    return verdict.action is Action.RETRY or not answer.body.strip()


def _kind_of(answer: Answer) -> str:
    if answer.status is None:
        return "network"
    return f"http_{answer.status}" if answer.status >= 300 else "answer"


def _nowhere(_point: str) -> None:
    """Do nothing."""

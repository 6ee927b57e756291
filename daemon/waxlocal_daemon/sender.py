"""Sends requests from a few threads, each with its own connection.

A shared pool searches all of its connections for each request, which halves the throughput at 32
connections; httpx's asyncio client has a quarter of it.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import TypeAlias

from waxlocal.settings.upload_settings import UploadSettings
from waxlocal_daemon.answers import Answer
from waxlocal_daemon.connection import Connection, Request
from waxlocal_daemon.network import Route
from waxlocal_daemon.pipelining import Pipelining

__all__ = ["UNANSWERED", "Sender"]

# What comes back with a request that left behind others, and whose connection ended before its
# turn. It is no failure: the server may have it or not.
UNANSWERED = Answer(None, {}, b"", "the connection ended before its turn")

# With this many requests in flight, wait a little longer for more responses, for so many seconds
# each: the server is busy with the others meanwhile, and those threads with what has come.
MANY = 8
GATHER_EACH_S = 80e-6
GATHER_MOST_S = 0.005
# With more bytes in flight, each connection carries one request at a time.
BYTES_TOGETHER = 1024 * 1024

_Todo: TypeAlias = "queue.SimpleQueue[Request | None]"
_Done: TypeAlias = "queue.SimpleQueue[tuple[Request, Answer]]"


class Sender:
    """Hands requests to threads and collects the responses, in the order of arrival.

    For use by one thread. Follows no redirects and retries nothing. A request takes at most
    `settings.request_timeout` seconds without progress: for each part of it that the network takes,
    and then to the last byte of the response, however slow the server is.

    Of requests that left together, those behind a lost connection come back with `UNANSWERED`.
    """

    def __init__(self, settings: UploadSettings) -> None:
        self._route = Route(settings)
        self._settings = settings
        self._pipelining = Pipelining()
        self._todo, self._done = _queues()
        self._threads = 0
        self.in_flight = 0
        self._bytes = 0

    def room(self) -> int:
        """Return how many more requests may be sent now."""
        together = self._pipelining.most if self._bytes < BYTES_TOGETHER else 1
        return self._settings.concurrency * together - self.in_flight

    def send(self, request: Request) -> None:
        """Send a request as soon as a thread is free."""
        self.in_flight += 1
        self._bytes += len(request.body)
        if self.in_flight > self._threads < self._settings.concurrency:
            self._threads += 1
            # A daemon thread: one that hangs in the network does not keep the process alive.
            threading.Thread(
                target=self._work, args=(self._todo, self._done), name="waxlocal-send", daemon=True
            ).start()
        self._todo.put(request)

    def collect(self, timeout: float) -> list[tuple[Request, Answer]]:
        """Return the responses received so far; waits up to `timeout` seconds for the first."""
        answers: list[tuple[Request, Answer]] = []
        try:
            answers.append(self._done.get(timeout > 0, timeout))
            if self.in_flight >= MANY:
                # More are about to arrive; stored together they need one commit instead of ten.
                time.sleep(min(self.in_flight * GATHER_EACH_S, GATHER_MOST_S))
            while True:
                answers.append(self._done.get(False))
        except queue.Empty:
            self.in_flight -= len(answers)
            self._bytes -= sum(len(request.body) for request, _answer in answers)
            return answers

    def forget(self) -> None:
        """Give up the requests in flight: their responses are not collected."""
        self.close()
        self._todo, self._done = _queues()
        self.in_flight = self._bytes = 0

    def close(self) -> None:
        """Let the threads end; one that waits for a response ends when it has it."""
        with suppress(queue.Empty):
            while True:
                self._todo.get(False)
        for _ in range(self._threads):
            self._todo.put(None)
        self._threads = 0

    def _work(self, todo: _Todo, done: _Done) -> None:
        connection = Connection(self._route, self._settings)
        try:
            while requests := self._next(todo):
                answered = 0
                for answer in connection.exchange(requests):
                    done.put((requests[answered], answer))
                    answered += 1
                if connection.is_open:
                    self._pipelining.answered(answered)
                else:
                    together = len(requests) > 1
                    self._pipelining.ended(together=together, was_lost=connection.was_lost)
                for request in requests[answered:]:
                    done.put((request, UNANSWERED))
        finally:
            connection.close()

    def _next(self, todo: _Todo) -> list[Request]:
        """Take the next request, and those that may leave behind it; empty at the end.

        A thread takes its share of what is in flight, so that the others have something to do.
        """
        first = todo.get()
        if first is None:
            return []
        requests: list[Request] = [first]
        others: list[Request | None] = []
        share = -(-self.in_flight // max(self._threads, 1))
        most = min(share, self._pipelining.most) if first.joins else 1
        with suppress(queue.Empty):
            while len(requests) < most > len(others):
                more = todo.get(False)
                if more is not None and more.joins:
                    requests.append(more)
                else:
                    others.append(more)
        for one in others:
            todo.put(one)
        return requests


def _queues() -> tuple[_Todo, _Done]:
    return queue.SimpleQueue(), queue.SimpleQueue()

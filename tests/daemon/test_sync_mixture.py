"""Any mixture of ways, losses, late records and restores: each record is once everywhere."""

from __future__ import annotations

import http.client
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import httpx
import hypothesis
from hypothesis import strategies as st

from tests.tools.answering import Asked, answering
from tests.tools.examples import examples
from tests.tools.sync import PATIENT, ask, change, copy_whole, settings_for, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings
from waxlocal.wire.paths import stage_path
from waxlocal_daemon.verify import verify

# What each record is known by in all files.
MARKS = """
SELECT step_name FROM steps UNION ALL SELECT name FROM scores UNION ALL SELECT task FROM llm_calls
UNION ALL SELECT run_id FROM runs
"""
TAGS = "SELECT run_id, tags, status, result FROM runs ORDER BY run_id"
SOME = st.integers(0, 5)
LOST = st.sampled_from([0.0, 0.0, 0.3])
OPERATIONS = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 2)),
    st.tuples(st.just("late"), SOME),
    st.tuples(st.just("change"), SOME),
    st.tuples(st.just("send"), st.booleans(), LOST),
    st.tuples(st.just("send"), st.booleans(), LOST),
    st.tuples(st.just("send_far"), st.booleans()),
    st.tuples(st.just("hop"), st.booleans()),
    st.tuples(st.just("score_at_hub"), SOME),
    st.tuples(st.just("expire")),
    st.tuples(st.just("back_up")),
    st.tuples(st.just("restore")),
)


class World:
    """A device, the hub to which it sends, and the one to which the hub sends on."""

    def __init__(self, place: Path, hub: str, far: str, random: Random) -> None:
        self.device, self.hub, self.far = (
            place / f"{name}.db" for name in ("device", "hub", "far")
        )
        self._backup = place / "backup.db"
        self._hub_url, self._far_url = hub, far
        # Of a link to the hub, which loses some of its answers.
        self.link_url = ""
        self._lost = 0.0
        self._random = random
        self._numbers = itertools.count()
        self._runs: list[str] = []
        # What was given at the hub; whether the device's file was replaced by an older one.
        self.given: list[str] = []
        self.restored = False

    @contextmanager
    def _recording(self) -> Iterator[None]:
        recorder = Recorder(Settings(db=self.device))
        before = use_recorder(recorder)
        try:
            yield
        finally:
            use_recorder(before)
            recorder.close()

    def run(self, records: int) -> None:
        """Record a run."""
        with self._recording(), WaxellContext("agent", session_id="s") as run:
            for _ in range(records):
                run.record_step(self._name("step"), {"n": 1})
                run.record_score(self._name("score"), 0.5)
                run.record_llm_call(
                    model="m", tokens_in=3, tokens_out=2, cost=0.1, task=self._name("call")
                )
            self._runs.append(run.run_id)

    def late(self, which: int) -> None:
        """Add to a run that has ended."""
        if run_id := self._one(which):
            score = {"name": self._name("late"), "value": 1.0}
            with self._recording():
                WaxellObserveClient().record_scores_sync(run_id=run_id, scores=[score])

    def change(self, which: int) -> None:
        """Give a run that has ended another tag."""
        if run_id := self._one(which):
            tags = f'{{"n": "{next(self._numbers)}"}}'
            change(self.device, "UPDATE runs SET tags = ? WHERE run_id = ?", tags, run_id)

    def send(self, bulk: bool, lost: float) -> None:
        """Upload to the hub, over a link that loses some of its answers."""
        if self.device.exists():
            self._lost = lost
            upload(self.device, self.link_url, bulk=bulk, concurrency=2, **PATIENT)

    def send_far(self, bulk: bool) -> None:
        """Upload to the one behind the hub."""
        if self.device.exists():
            upload(self.device, self._far_url, bulk=bulk, **PATIENT)

    def answer_from_hub(self, asked: Asked) -> bytes:
        """Pass a request on, and lose some of the answers to those that change something."""
        answer = _passed_on(self._hub_url, asked)
        is_lost = asked.method == "POST" and self._random.random() < self._lost
        return b"" if is_lost else answer

    def hop(self, bulk: bool) -> None:
        """Upload what the hub has."""
        if self.hub.exists():
            upload(self.hub, self._far_url, bulk=bulk, **PATIENT)

    def score_at_hub(self, which: int) -> None:
        """Give a run a score at the hub, which takes the next position there."""
        run_id = self._one(which)
        if run_id and self.hub.exists() and (run_id,) in ask(self.hub, "SELECT run_id FROM runs"):
            name = self._name("given")
            body = {"scores": [{"name": name, "numeric_value": 0.5}]}
            _post(self._hub_url + stage_path("scores", run_id), body)
            self.given.append(name)

    def expire(self) -> None:
        """Let the hub forget which keys it has seen."""
        if self.hub.exists():
            change(self.hub, "DELETE FROM received")

    def back_up(self) -> None:
        """Keep the device's file as it is."""
        if self.device.exists():
            copy_whole(self.device, self._backup)

    def restore(self) -> None:
        """Put the kept file in the place of the device's."""
        if self._backup.exists():
            copy_whole(self._backup, self.device)
            self.restored = True
            known = {run_id for (run_id,) in ask(self.device, "SELECT run_id FROM runs")}
            self._runs = [run_id for run_id in self._runs if run_id in known]

    def _one(self, which: int) -> str:
        return self._runs[which % len(self._runs)] if self._runs else ""

    def _name(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"


def _post(url: str, body: object) -> None:
    httpx.post(url, json=body).raise_for_status()


def _passed_on(url: str, asked: Asked) -> bytes:
    parts = urlsplit(url)
    headers = {name: value for name, value in asked.headers.items() if name != "host"}
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port)) as server:
        server.request(asked.method, asked.target, asked.body, headers)
        response = server.getresponse()
        body = response.read()
    kind = response.getheader("content-type", "")
    head = f"HTTP/1.1 {response.status} .\r\ncontent-type: {kind}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _marks(path: Path) -> Counter[str]:
    return Counter(mark for (mark,) in ask(path, MARKS))


@hypothesis.settings(max_examples=examples(24))
@hypothesis.given(st.lists(OPERATIONS, min_size=3, max_size=12), st.integers(0, 2**16))
def test_each_record_is_once_everywhere(operations: list[tuple[object, ...]], seed: int) -> None:
    """At the device, at its hub and behind it, whatever was lost, restored or expired."""
    place = Path(tempfile.mkdtemp())
    try:
        with ExitStack() as open_:
            hub = open_.enter_context(serving(place / "hub.db"))
            far = open_.enter_context(serving(place / "far.db"))
            world = World(place, url_of(hub), url_of(far), Random(seed))
            link = open_.enter_context(answering(world.answer_from_hub))
            world.link_url = f"http://127.0.0.1:{link.port}"
            world.run(1)
            for name, *arguments in operations:
                getattr(world, str(name))(*arguments)
            world.send(True, 0.0)
            world.hop(True)
            _assert_once(world)
    finally:
        shutil.rmtree(place)


def _assert_once(world: World) -> None:
    here, there, far = map(_marks, (world.device, world.hub, world.far))
    for found in (here, there, far):
        assert [mark for mark, count in found.items() if count > 1] == []
    assert set(here) | set(world.given) <= set(there) <= set(far)
    if not world.restored:
        assert set(there) == set(here) | set(world.given)
        assert ask(world.hub, TAGS) == ask(world.device, TAGS)
        assert ask(world.far, TAGS) == ask(world.device, TAGS)
        found = verify(world.device, settings_for(world.link_url, **PATIENT))
        assert found.agrees

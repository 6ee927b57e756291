"""What is reported only at the end reaches the file, also by way of a side file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from tests.crash.files import assert_sound
from tests.tools.file_versions import make_newer
from tests.tools.sdk_rows import only, queried
from waxlocal import WaxellContext
from waxlocal.capture.provider import provider
from waxlocal.maintenance import side_files
from waxlocal.recording.recorder import Recorder
from waxlocal.storage import schema, side_file

KIND = "openinference.span.kind"
TRACER = provider().get_tracer("openinference.instrumentation.some_framework")
ASKED = json.dumps([{"role": "user", "content": "find it"}])

Step = Callable[[Path, Recorder], None]


def _upgrade(path: Path, recorder: Recorder) -> None:
    """Let the file need a later waxlocal, and the recorder notice."""
    make_newer(path, min_writer=99, min_reader=99)
    recorder.store.look_around(0)


def _take_in(path: Path) -> None:
    """Let the file allow this version, and take in what lies beside it."""
    make_newer(path, min_writer=schema.VERSION, min_reader=schema.VERSION)
    side_files.take_in_all(path)


def _nothing(_path: Path, _recorder: Recorder) -> None:
    pass


def _take_in_and_go_on(path: Path, recorder: Recorder) -> None:
    _take_in(path)
    _upgrade(path, recorder)


# Where the beginnings and the ends go: what happens before, and what between them.
WAYS: dict[str, tuple[Step, Step]] = {
    "into the file": (_nothing, _nothing),
    "beside it": (_upgrade, _nothing),
    "first into it, then beside it": (_nothing, _upgrade),
    "beside it, and the beginnings are taken in meanwhile": (_upgrade, _take_in_and_go_on),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_run_and_a_span_say_at_their_end_is_in_the_file(
    db_path: Path, recorder: Recorder, way: str
) -> None:
    """The inputs of a run, the input and the attributes of a span, and how both ended."""
    before, between = WAYS[way]
    with WaxellContext("first"):
        pass  # the file is there
    before(db_path, recorder)
    agent = TRACER.start_span("guide", attributes={KIND: "AGENT"})
    inside = trace.set_span_in_context(agent)
    tool = TRACER.start_span("look_up", inside, attributes={KIND: "TOOL", "known": "early"})
    between(db_path, recorder)
    tool.set_attributes({"input.value": '{"q":1}', "output.value": "found", "more": "late"})
    tool.end()
    agent.set_attributes({"input.value": ASKED, "output.value": "It is found."})
    agent.end()
    recorder.close()
    _take_in(db_path)
    (run,) = queried(db_path, "SELECT * FROM runs WHERE agent_name = 'guide'")
    assert json.loads(run["inputs"])["message"] == "find it"
    assert json.loads(run["result"]) == {"response": "It is found."}
    assert run["status"] == "success"
    span = only(db_path, "spans")
    assert (span["input"], span["output"], span["status"]) == ({"q": 1}, "found", "ok")
    assert span["attributes"] == {"known": "early", "more": "late"}
    assert_sound(db_path)
    assert not side_file.side_path(db_path).exists()


@pytest.mark.parametrize("way", WAYS)
def test_words_take_the_place_of_what_the_start_gave(
    db_path: Path, recorder: Recorder, way: str
) -> None:
    """A structure says less."""
    before, between = WAYS[way]
    with WaxellContext("first"):
        pass
    before(db_path, recorder)
    given: dict[str, Any] = {KIND: "AGENT", "input.value": '{"city":"Bern"}'}
    agent = TRACER.start_span("guide", attributes=given)
    between(db_path, recorder)
    agent.set_attribute("input.value", ASKED)
    agent.end()
    recorder.close()
    _take_in(db_path)
    (run,) = queried(db_path, "SELECT inputs FROM runs WHERE agent_name = 'guide'")
    assert json.loads(run["inputs"])["message"] == "find it"

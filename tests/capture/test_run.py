"""`waxlocal run` on programs that know nothing of waxlocal, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import venv
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import waxlocal
from tests.capture.programs import Start
from tests.tools.cli import answer, environment
from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_rows import queried
from tests.vendors.replies import Reply
from tests.vendors.server import VendorServer

SHIM = Path(waxlocal.__file__).with_name("shim") / "path"


def _asked(path: Path) -> list[str]:
    """Return what the models were asked, in order of the words; nothing without a file."""
    if not path.exists():
        return []
    return sorted(row["prompt_preview"] for row in queried(path, "SELECT * FROM llm_calls"))


def test_the_conversation_of_an_unchanged_program_is_recorded(start: Start, db_path: Path) -> None:
    done = start(
        "from asking import ask\nask('how deep?')\nprint(ask('how wide?'))",
        *("--session", "lake", "--user", "ann"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "You said: how wide?\n"
    (shown,) = answer("sessions", db=db_path)
    assert (shown["session_id"], shown["user_id"], shown["run_count"]) == ("lake", "ann", 2)
    turns = answer("session", "lake", db=db_path)["runs"]
    said = [(turn["message"], turn["agent_name"]) for turn in turns]
    assert said == [("how deep?", "auto:gpt-4o"), ("how wide?", "auto:gpt-4o")]


def test_nothing_is_captured_with_no_instrument(start: Start, db_path: Path) -> None:
    """Nor by a `waxlocal run` inside one that captures."""
    assert start("from asking import ask\nask('hi')", "--no-instrument").returncode == 0
    assert _asked(db_path) == []
    text = """
import pathlib, subprocess, sys
inner = pathlib.Path(sys.path[0], "inner.py")
inner.write_text("from asking import ask; ask('hi')")
command = [sys.executable, "-m", "waxlocal", "run", "--no-instrument", str(inner)]
subprocess.run(command, check=True)
"""
    assert start(text).returncode == 0
    assert _asked(db_path) == []


@pytest.mark.usefixtures("nothing_there")
def test_switched_off_nothing_is_recorded(start: Start, db_path: Path) -> None:
    program = "from asking import ask\nprint(ask('hi'))"
    done = start(program, WAXELL_OBSERVE="false")
    assert (done.stdout, done.stderr) == ("You said: hi\n", "")
    assert not db_path.exists()


def test_the_session_is_for_all_threads_and_runs_that_name_none(
    start: Start, db_path: Path
) -> None:
    """A run's own session and a block's come first."""
    text = """
import threading
from waxell_observe import WaxellContext, session

def record(name, **own):
    with WaxellContext(name, **own):
        with WaxellContext(f"inside {name}"):
            pass

thread = threading.Thread(target=record, args=["thread"])
thread.start()
thread.join()
record("own", session_id="mine")
with session("block"):
    record("block")
"""
    done = start(text, "--session", "all", "--user", "ann")
    assert (done.returncode, done.stderr) == (0, "")
    found = queried(db_path, "SELECT agent_name, session_id, user_id FROM runs")
    sessions = {row["agent_name"]: row["session_id"] for row in found}
    assert sessions == {
        "thread": "all",
        "inside thread": "all",
        "own": "mine",
        "inside own": "mine",
        "block": "block",
        "inside block": "block",
    }
    assert {row["user_id"] for row in found} == {"ann"}


@pytest.mark.parametrize("kept", [True, False], ids=["with-content", "without-content"])
def test_the_run_of_a_process_says_what_was_said_in_it(
    start: Start, db_path: Path, kept: bool
) -> None:
    """The first question, and the last answer: else it is a session without a title."""
    text = "from asking import ask\nask('how deep?')\nask('how wide?')"
    asked = {} if kept else {"WAXELL_CAPTURE_CONTENT": "0"}
    assert start(text, "--agent", "bot", "--session", "lake", **asked).returncode == 0
    (shown,) = answer("sessions", db=db_path)
    (turn,) = answer("session", "lake", db=db_path)["runs"]
    said = (shown["title"], turn["message"], turn["answer"])
    assert said == (("how deep?", "how deep?", "You said: how wide?") if kept else ("", "", ""))


def test_what_a_program_says_of_the_run_of_its_process_stays(start: Start, db_path: Path) -> None:
    text = """
import waxell_observe
from asking import ask
ask('how deep?')
waxell_observe.get_context().set_result({"depth": 3})
"""
    assert start(text, "--agent", "bot", "--session", "lake").returncode == 0
    bot = _runs_of_agents(db_path)["bot"]
    assert json.loads(bot["result"]) == {"depth": 3}


@pytest.mark.crash
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_call_that_has_returned_survives_a_kill(start: Start, db_path: Path) -> None:
    text = "import os\nfrom asking import ask\nask('how deep?')\nos.kill(os.getpid(), 9)"
    assert start(text).returncode == -signal.SIGKILL
    (call,) = queried(db_path, "SELECT * FROM llm_calls")
    assert (call["prompt_preview"], call["status"]) == ("how deep?", "ok")


def test_children_of_every_kind_are_captured(start: Start, db_path: Path) -> None:
    text = """
import multiprocessing
import subprocess
import sys
from asking import ask

if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        child = multiprocessing.get_context(method).Process(target=ask, args=[method])
        child.start()
        child.join()
        assert child.exitcode == 0, method
    inner = "from asking import ask; ask('subprocess')"
    subprocess.run([sys.executable, "-c", inner], check=True, cwd=sys.path[0])
    ask("parent")
    print(*multiprocessing.get_all_start_methods())
"""
    done = start(text, "--session", "all")
    assert (done.returncode, done.stderr) == (0, "")
    expected = sorted(["parent", "subprocess", *done.stdout.split()])
    assert _asked(db_path) == expected
    (shown,) = answer("sessions", db=db_path)
    assert shown["run_count"] == len(expected)


def test_what_the_program_chooses_counts(start: Start, db_path: Path) -> None:
    """Whether it imports the library before `init` or after."""
    for first in ("import openai", ""):
        text = f"{first}\nimport waxlocal\nwaxlocal.init(exclude=['openai'])\n"
        done = start(f"{text}from asking import ask\nask('hi')", "-q")
        assert (done.returncode, done.stderr) == (0, "")
    assert _asked(db_path) == []
    assert start("from asking import ask\nask('hi')", WAXELL_EXCLUDE="openai").returncode == 0
    assert _asked(db_path) == []


def test_an_own_sitecustomize_still_runs(start: Start, db_path: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import sys\nsys.own = 'ran'\n")
    text = "import sys, sitecustomize\nfrom asking import ask\nask('hi')\n"
    path = os.pathsep.join([str(own), environment()["PYTHONPATH"]])
    done = start(f"{text}print(sys.own, sitecustomize.__file__)", PYTHONPATH=path)
    assert done.stdout == f"ran {own / 'sitecustomize.py'}\n"
    assert _asked(db_path) == ["hi"]


def test_an_own_sitecustomize_that_fails_stops_nothing(
    start: Start, db_path: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("raise ValueError('broken')\n")
    path = os.pathsep.join([str(own), environment()["PYTHONPATH"]])
    done = start("from asking import ask\nprint(ask('hi'))", PYTHONPATH=path)
    assert done.stdout == "You said: hi\n"
    assert "broken" in done.stderr  # as Python says it without waxlocal
    assert _asked(db_path) == ["hi"]


@pytest.mark.parametrize("option", ["-S", "-I", "-E"])
def test_a_python_that_looks_at_no_path_goes_without(
    start: Start, db_path: Path, option: str
) -> None:
    done = start("print('fine')", python=(sys.executable, option))
    assert (done.stdout, done.stderr) == ("fine\n", "")
    assert not db_path.exists()


def test_a_program_without_a_model_library_loads_nothing(start: Start, db_path: Path) -> None:
    text = """
import sys, json, sqlite3, asyncio
print([name for name in sys.modules if name.partition(".")[0] in ("waxlocal", "opentelemetry")])
"""
    done = start(text, "--quiet")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="a virtual environment looks otherwise")
def test_a_python_without_waxlocal_says_so_and_goes_on(tmp_path: Path) -> None:
    """Once, and only where it imports a model library."""
    venv.create(tmp_path / "empty", symlinks=True)
    (tmp_path / "openai.py").write_text("print('imported')")
    program = tmp_path / "app.py"
    program.write_text("import sys\nif sys.argv[1:]: import openai, anthropic\nprint('done')")
    (tmp_path / "anthropic.py").write_text("")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAX")}
    for arguments, said in (([], "done\n"), (["ask"], "imported\ndone\n")):
        done = subprocess.run(
            [tmp_path / "empty" / "bin" / "python", program, *arguments],
            env={**kept, "PYTHONPATH": str(SHIM), "WAXLOCAL_CAPTURE": "openai,anthropic"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, said)
        assert done.stderr.count("has no waxlocal") == len(arguments)


def test_options_stand_before_the_program(start: Start) -> None:
    """What follows is the program's, also where it is called like an option of ours."""
    text = "import sys, json\nprint(json.dumps(sys.argv[1:]))"
    done = start(text, "--session", "lake")
    assert json.loads(done.stdout) == []
    for options in (["-m", "json.tool", "--help"], ["--user", "ann", "-m", "json.tool", "-h"]):
        done = start("", python=tuple(options))
        assert "json.tool" in done.stdout
        assert "waxlocal" not in done.stdout


AROUND = """
import subprocess
import sys
import threading
from asking import ask
from waxell_observe import WaxellContext, session

def in_run():
    with session("block"), WaxellContext("thread"):
        ask("in a run")

ask("outside")
for work in (lambda: ask("in a thread"), in_run):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
inner = "from asking import ask; ask('subprocess')"
subprocess.run([sys.executable, "-c", inner], check=True, cwd=sys.path[0])
"""


def _runs_of_agents(path: Path) -> dict[str, dict[str, Any]]:
    return {row["agent_name"]: row for row in queried(path, "SELECT * FROM runs")}


def test_what_a_program_calls_a_session_is_one_within_an_agent_too(
    start: Start, db_path: Path
) -> None:
    """Its calls are in the session that the block names, as children of the agent's run."""
    text = """
    from asking import ask
    from waxell_observe import session

    ask("outside")
    with session("mine", user_id="bo"):
        ask("inside")
    """
    done = start(dedent(text), "--agent", "bot", "--session", "all")
    assert (done.returncode, done.stderr) == (0, "")
    runs = _runs_of_agents(db_path)
    bot, own = runs["bot"], runs["auto:gpt-4o"]
    assert (own["session_id"], own["user_id"]) == ("mine", "bo")
    assert own["parent_workflow_id"] == f"wf_{bot['run_id']}"
    calls = queried(db_path, "SELECT run_id, prompt_preview FROM llm_calls")
    where = {call["prompt_preview"]: call["run_id"] for call in calls}
    assert where == {"outside": bot["run_id"], "inside": own["run_id"]}


def test_an_agent_with_a_parent_in_another_process_has_its_calls(
    start: Start, db_path: Path
) -> None:
    """A parent that the environment names is around the agent, not around each call."""
    text = """
    from asking import ask
    from waxell_observe import init

    init()
    ask("once")
    ask("twice")
    """
    named = {"WAXELL_PARENT_WORKFLOW_ID": "wf_elsewhere", "WAXELL_AGENT_NAME": "bot"}
    done = start(dedent(text), **named)
    assert (done.returncode, done.stderr) == (0, "")
    (bot,) = _runs_of_agents(db_path).values()
    assert (bot["agent_name"], bot["parent_workflow_id"]) == ("bot", "wf_elsewhere")


def test_an_agent_is_one_run_around_the_whole_process(start: Start, db_path: Path) -> None:
    """Other runs are its children, in threads and other processes, too."""
    done = start(AROUND, "--agent", "bot", "--session", "all")
    assert (done.returncode, done.stderr) == (0, "")
    runs = _runs_of_agents(db_path)
    assert set(runs) == {"bot", "thread", "auto:gpt-4o"}
    bot = runs.pop("bot")
    assert (bot["workflow_name"], bot["status"], bot["session_id"]) == ("agent", "success", "all")
    for run in runs.values():
        assert run["parent_workflow_id"] == f"wf_{bot['run_id']}"
    assert (runs["thread"]["session_id"], runs["auto:gpt-4o"]["session_id"]) == ("block", "all")
    calls = queried(db_path, "SELECT run_id, prompt_preview FROM llm_calls")
    where = {call["prompt_preview"]: call["run_id"] for call in calls}
    assert where == {
        "outside": bot["run_id"],
        "in a thread": bot["run_id"],
        "in a run": runs["thread"]["run_id"],
        "subprocess": runs["auto:gpt-4o"]["run_id"],
    }


def test_the_run_of_a_program_that_fails_ends_with_its_error(start: Start, db_path: Path) -> None:
    done = start("raise ValueError('no')", "--agent", "bot", WAXELL_WORKFLOW="night")
    assert done.returncode == 1
    bot = _runs_of_agents(db_path)["bot"]
    assert (bot["workflow_name"], bot["status"]) == ("night", "error")
    assert (bot["error_type"], bot["error"]) == ("ValueError", "no")


@pytest.mark.crash
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_the_run_of_a_program_that_is_killed_is_interrupted(start: Start, db_path: Path) -> None:
    text = "import os\nfrom asking import ask\nask('hi')\nos.kill(os.getpid(), 9)"
    assert start(text, "--agent", "bot", "--session", "all").returncode == -signal.SIGKILL
    (turn,) = answer("session", "all", db=db_path)["runs"]
    assert (turn["agent_name"], turn["status"]) == ("bot", "interrupted")
    assert _asked(db_path) == ["hi"]


def test_init_begins_the_run_of_the_process_once(start: Start, db_path: Path) -> None:
    """Also where `waxlocal run` is not told to; a forked child does not end it."""
    text = """
import os, waxlocal
os.environ["WAXELL_AGENT_NAME"] = "bot"
waxlocal.init()
waxlocal.init()
if hasattr(os, "fork"):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    else:
        raise SystemExit(0)
from asking import ask
ask("hi")
"""
    done = start(text)
    assert (done.returncode, done.stderr) == (0, "")
    (bot,) = queried(db_path, "SELECT * FROM runs")
    assert (bot["agent_name"], bot["status"]) == ("bot", "success")
    (call,) = queried(db_path, "SELECT run_id FROM llm_calls")
    assert call["run_id"] == bot["run_id"]


def _install_boto3(folder: Path) -> None:
    """Put a library beside the program that no package here captures."""
    about = folder / "boto3-1.40.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: boto3\nVersion: 1.40.1\n")
    (folder / "boto3.py").write_text("")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import boto3", True),
        ("import boto3, os\nif not os.fork(): raise SystemExit\nos.wait()", True),
        ("import boto3, sys\nsys.exit(3)", True),
        ("import boto3, openai", False),
        ("import json", False),
        ("import boto3, waxlocal\nwith waxlocal.WaxellContext('own'): pass", False),
        ("import boto3, waxlocal\nwaxlocal.init(instrument=['openai'])", False),
    ],
)
def test_a_program_of_which_nothing_was_recorded_says_why(
    start: Start, tmp_path: Path, text: str, said: bool
) -> None:
    """Once, at its exit, where what captures its library is missing."""
    _install_boto3(tmp_path)
    done = start(text)
    line = (
        "waxlocal: nothing was recorded: calls of boto3 are not captured "
        "(opentelemetry-instrumentation-genai-bedrock is not installed). Try: waxlocal doctor\n"
    )
    assert done.stdout == ""
    assert (done.stderr == line) == said
    assert "boto3" not in done.stderr or said


def test_a_program_that_was_not_to_be_captured_misses_nothing(start: Start, tmp_path: Path) -> None:
    _install_boto3(tmp_path)
    assert start("import boto3", WAXELL_OBSERVE="0").stderr == ""
    assert "boto3" not in start("import boto3", "--no-instrument").stderr


def test_diagnose_says_what_is_captured_and_what_is_not(start: Start, tmp_path: Path) -> None:
    """By the same names as `instrument=[...]`; a library that is not there is not missed."""
    _install_boto3(tmp_path)
    text = """
import json, openai, boto3
from waxell_observe import diagnose
print(json.dumps(diagnose()))
"""
    done = start(text, "--quiet")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["active_instrumentors"] == ["openai"]
    detected = found["detected_libraries"]
    assert (detected["openai"], detected["bedrock"], detected["gemini"]) == (True, True, False)
    package = "opentelemetry-instrumentation-genai-bedrock"
    assert found["not_captured"]["bedrock"] == f"{package} is not installed"
    assert found["not_captured"]["anthropic"] == "it is not imported yet"
    assert "gemini" not in found["not_captured"]


def test_switched_off_an_agent_opens_no_run(start: Start, db_path: Path) -> None:
    done = start("print('fine')", "--agent", "bot", WAXELL_OBSERVE="false")
    assert (done.stdout, done.stderr) == ("fine\n", "")
    assert not db_path.exists()


@pytest.mark.parametrize("own", [False, True], ids=["only-imported", "switched-on"])
def test_a_program_may_import_an_instrumentation_before_its_library(
    start: Start, db_path: Path, stand_in: VendorServer, own: bool
) -> None:
    """Which imports the library then; the program's tracing has the calls only if it is on."""
    text = f"""
import os
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
if {own}:
    AnthropicInstrumentor().instrument()
import anthropic
client = anthropic.Anthropic(base_url="{stand_in.url}", api_key="sk-none")
asked = [{{"role": "user", "content": "how deep?"}}]
client.messages.create(model="claude-opus-4-8", max_tokens=9, messages=asked)
"""
    done = start(text)
    assert done.returncode == 0
    if own:
        assert "the program has switched this instrumentation on itself" in done.stderr
        assert _asked(db_path) == []
    else:
        assert (done.stderr, _asked(db_path)) == ("", ["how deep?"])


OPENED = """
import openai

asked = [{"role": "user", "content": "how deep?"}]
stream = openai.OpenAI().chat.completions.create(model="gpt-4o", messages=asked, stream=True)
read = [next(stream) for _ in range(4)]
"""


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("", id="by-itself"),
        pytest.param("raise SystemExit(3)", id="by-its-own-will"),
        pytest.param("raise ValueError('mine')", id="by-an-error"),
        pytest.param("words = (word for word in stream)\nnext(words)", id="inside-a-generator"),
    ],
)
def test_a_stream_that_a_module_still_holds_is_recorded_when_the_program_ends(
    start: Start, db_path: Path, end: str
) -> None:
    """With what was read of it, without a word of waxlocal, and as the program ends without.

    Python 3.13.0 alone crashes then, as it closes the client's generator.
    """
    done = start(OPENED + end, "--session", "lake")
    assert done.returncode == start(OPENED + end, "--no-instrument").returncode
    assert done.stderr == "" or done.stderr.endswith("ValueError: mine\n")
    (call,) = queried(db_path, "SELECT * FROM llm_calls")
    assert (call["status"], call["usage_known"]) == ("ok", 0)
    assert json.loads(call["details"])["finish_reason"] == "abandoned"
    assert call["prompt_preview"] == "how deep?"
    assert call["response_preview"].startswith("You said: how")
    (run,) = queried(db_path, "SELECT * FROM runs")
    assert (run["session_id"], run["status"]) == ("lake", "success")


def test_an_answer_that_nobody_closes_is_recorded_when_the_program_ends(
    start: Start, db_path: Path
) -> None:
    """Once: the child that the program forked has a copy of it."""
    text = """
import openai, os, sys
made = openai.OpenAI().chat.completions.with_streaming_response.create(
    model="gpt-4o", messages=[{"role": "user", "content": "how deep?"}]
)
answer = made.__enter__()
if not (child := os.fork()):
    sys.exit()
os.waitpid(child, 0)
"""
    assert start(text).returncode == 0
    (call,) = queried(db_path, "SELECT * FROM llm_calls")
    assert (call["status"], call["usage_known"], call["prompt_preview"]) == ("ok", 0, "how deep?")


def test_a_stream_that_a_forked_child_has_inherited_is_the_parents(
    start: Start, db_path: Path
) -> None:
    text = f"""{OPENED}
import os, sys
child = os.fork()
if not child:
    sys.exit()
os.waitpid(child, 0)
rest = list(stream)
"""
    assert start(text).returncode == 0
    (call,) = queried(db_path, "SELECT * FROM llm_calls")
    assert (call["status"], call["response_preview"]) == ("ok", "You said: how deep?")


def test_a_call_that_a_daemon_thread_is_making_is_recorded_when_the_program_ends(
    start: Start, db_path: Path, stand_in: VendorServer
) -> None:
    stand_in.always("gpt-4o", Reply(hangs_after=0))
    text = """
import os, threading, time
from asking import ask
threading.Thread(target=ask, args=("how deep?",), daemon=True).start()
while not os.path.exists(os.environ["RECEIVED"]):
    time.sleep(0.01)
"""
    received = db_path.with_name("received")

    def tell() -> None:
        stand_in.wait_for(hanging=1)
        received.touch()

    waiting = threading.Thread(target=tell)
    waiting.start()
    done = start(text, RECEIVED=str(received))
    waiting.join()
    stand_in.release()
    assert (done.returncode, done.stderr) == (0, "")
    (call,) = queried(db_path, "SELECT * FROM llm_calls")
    assert (call["status"], call["usage_known"]) == ("error", 0)
    assert call["error_message"] == "the process ended before the call"

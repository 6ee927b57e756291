"""Programs that import `waxell_observe`, unchanged, where that package is not installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_programs import ROOT, SHIM, run_python
from tests.tools.sdk_rows import rows

# What programs write, and what of waxlocal they get by it.
IMPORTS = {
    "from waxell_observe.client import WaxellObserveClient as it": "WaxellObserveClient",
    "from waxell_observe.context import WaxellContext as it": "WaxellContext",
    "from waxell_observe.context import generate_session_id as it": "generate_session_id",
    "from waxell_observe.config import ObserveConfig as it": "ObserveConfig",
    "from waxell_observe.errors import ObserveError as it": "ObserveError",
    "from waxell_observe.errors import ConfigurationError as it": "ConfigurationError",
    "from waxell_observe.errors import PolicyViolationError as it": "PolicyViolationError",
    "from waxell_observe.errors import PromptNotFoundError as it": "PromptNotFoundError",
    "from waxell_observe.types import RunInfo as it": "RunInfo",
    "from waxell_observe.types import PromptInfo as it": "PromptInfo",
    "from waxell_observe.types import DailyRunInfo as it": "types.DailyRunInfo",
    "from waxell_observe.approval import auto_deny as it": "auto_deny",
    "from waxell_observe.decorator import waxell_agent as it": "waxell_agent",
    "from waxell_observe import context as it": "WaxellContext",
    "import waxell_observe as waxell; it = waxell.observe": "observe",
    "from waxell_observe import get_current_context as it": "get_context",
    "from waxell_observe import observed_input as it": "input",
    "import waxell_observe.client; it = waxell_observe.client.WaxellObserveClient": (
        "WaxellObserveClient"
    ),
    "import waxell_observe.errors as e; it = e.ObserveError": "ObserveError",
    "import waxell_observe.approval as a; it = a.auto_approve": "auto_approve",
    "from waxell_observe import types; it = types.LlmCallInfo": "LlmCallInfo",
    "from waxell_observe.instrumentors._guard import PromptGuardError as it": "PromptGuardError",
    "from waxell_observe.instrumentors import _guard; it = _guard.PromptGuardResult": (
        "PromptGuardResult"
    ),
    "import waxell_observe.instrumentors._guard as g; it = g.PromptGuardError": "PromptGuardError",
}


def test_the_shim_goes_before_an_installed_original(db_path: Path) -> None:
    """The published package may be installed beside it: the names are still those of waxlocal."""
    assert importlib.util.find_spec("waxell_observe") is not None
    program = "import waxell_observe; print(waxell_observe.__file__)"
    assert str(SHIM) in run_python("-c", program, db=db_path, path=(SHIM,))


def test_every_import_gives_the_object_of_waxlocal(db_path: Path) -> None:
    """By whichever path a name is imported, `isinstance` and `except` hold."""
    lines = ["import waxlocal, waxlocal.sdk.types as types", "wrong = []"]
    for statement, name in IMPORTS.items():
        ours = name if name.startswith("types.") else f"waxlocal.{name}"
        lines += [statement, f"it is {ours} or wrong.append({statement!r})"]
    lines.append("print(wrong)")
    assert run_python("-c", "\n".join(lines), db=db_path, path=(SHIM,)) == "[]\n"


@pytest.mark.parametrize("statement", IMPORTS)
def test_import_works_as_the_first_one(db_path: Path, statement: str) -> None:
    """Each import stands alone: nothing else has to be imported before it."""
    assert run_python("-c", f"{statement}\nprint(it)", db=db_path, path=(SHIM,)) != ""


def test_star_import_gives_the_public_names(db_path: Path) -> None:
    """`from waxell_observe import *` binds all that waxlocal exports."""
    program = "import waxlocal\nfrom waxell_observe import *\n"
    program += "print([n for n in waxlocal.__all__ if n not in globals()], __version__)"
    assert run_python("-c", program, db=db_path, path=(SHIM,)).startswith("[] ")


def test_collector_records_calls_outside_any_run(db_path: Path) -> None:
    """A call handed to the collector is a run of its own, or belongs to the open one."""
    program = """
from waxell_observe import WaxellContext
from waxell_observe.instrumentors._collector import _collector

call = {"model": "gpt-4o", "tokens_in": 10, "tokens_out": 5}
_collector.record_call(call)
with WaxellContext("agent") as ctx:
    ctx.record_step("before")
    _collector.record_call(call)
_collector.flush()
"""
    run_python("-c", program, db=db_path, path=(SHIM,))
    auto, agent = rows(db_path, "runs")
    assert (auto["agent_name"], auto["workflow_name"]) == ("auto:gpt-4o", "auto")
    assert (auto["status"], auto["metadata"]["call_count"]) == ("success", 1)
    calls = {call["run_id"]: call["position"] for call in rows(db_path, "llm_calls")}
    assert calls == {auto["run_id"]: 1, agent["run_id"]: 2}


def test_guard_lets_prompts_pass(db_path: Path) -> None:
    """The private guard can be configured and asked, and finds nothing."""
    program = """
from waxell_observe.instrumentors._guard import check_prompt, configure

configure(enabled=True, action="block")
print(check_prompt([{"role": "user", "content": "hi"}], model="m"))
"""
    assert run_python("-c", program, db=db_path, path=(SHIM,)) == "None\n"


CHILDREN = """
import multiprocessing
import subprocess
import sys

from waxell_observe import PolicyViolationError, WaxellContext


def child(name, error):
    import waxell_observe

    assert isinstance(error, waxell_observe.PolicyViolationError)
    with waxell_observe.WaxellContext(name):
        pass


if __name__ == "__main__":
    error = PolicyViolationError("pickled")
    with WaxellContext("parent"):
        for method in ("spawn", "forkserver", "fork"):
            context = multiprocessing.get_context(method)
            process = context.Process(target=child, args=(method, error))
            process.start()
            process.join()
            assert process.exitcode == 0, method
        program = "import waxell_observe as w\\nwith w.WaxellContext('subprocess'): pass"
        subprocess.run([sys.executable, "-c", program], check=True)
"""


def test_children_of_every_kind_record_too(db_path: Path, tmp_path: Path) -> None:
    """Processes started by the program find the shim as well; a forked one is the run's child."""
    program = tmp_path / "parent.py"
    program.write_text(CHILDREN)
    run_python("-m", "waxlocal", "run", program, db=db_path)
    runs = {run["agent_name"]: run for run in rows(db_path, "runs")}
    assert set(runs) == {"parent", "spawn", "forkserver", "fork", "subprocess"}
    assert {run["status"] for run in runs.values()} == {"success"}
    parents = {name for name, run in runs.items() if run["parent_workflow_id"]}
    assert parents == {"fork"}


def test_module_is_run_with_its_arguments(db_path: Path, tmp_path: Path) -> None:
    """`waxlocal run -m package ARGS` runs the package's `__main__`."""
    package = tmp_path / "agentpackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import sys\nfrom waxell_observe import WaxellContext\n"
        "with WaxellContext(sys.argv[1]):\n    print(sys.argv[1:])\n"
    )
    command = ("-m", "waxlocal", "run", "-m", "agentpackage", "bot", "--flag")
    assert run_python(*command, db=db_path, path=(tmp_path,)) == "['bot', '--flag']\n"
    assert [run["agent_name"] for run in rows(db_path, "runs")] == ["bot"]


AGENT = """
import sys
import waxell_observe
from waxell_observe.client import WaxellObserveClient

with waxell_observe.WaxellContext("agent"):
    print(sys.executable, waxell_observe.__name__, *sys.argv[1:])
"""
# What stands for the original in a Python without waxlocal.
ORIGINAL = """
class WaxellContext:
    def __init__(self, agent_name): pass
    def __enter__(self): return self
    def __exit__(self, *left): print("the original")
"""


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment in which nothing is installed."""
    directory = tmp_path_factory.mktemp("environments") / "bare"
    venv.create(directory, symlinks=True)
    return directory / "bin" / "python"


def install(python: Path, name: str, files: dict[str, str]) -> None:
    """Put a package into the environment of a Python."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    package = site / name
    package.mkdir(exist_ok=True)
    for file, content in files.items():
        (package / file).write_text(content)


def run_waxlocal(*args: object, db: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of waxlocal without its repository on the path of what it starts."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "waxlocal", "run", *map(str, args)],
        env={**environment, "WAXLOCAL_DB": str(db), **more},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    program = tmp_path / "agent.py"
    program.write_text(AGENT)
    return program


def test_python_by_its_path_is_executed(db_path: Path, agent: Path, bare_python: Path) -> None:
    """`waxlocal run venv/bin/python x.py` runs that Python; with waxlocal there, it records."""
    (site,) = bare_python.parents[1].glob("lib/python*/site-packages")
    pth = site / "waxlocal.pth"
    pth.write_text(f"{ROOT}\n")
    try:
        done = run_waxlocal(bare_python, agent, "arg", db=db_path)
    finally:
        pth.unlink()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{bare_python} waxell_observe arg\n"
    assert [run["agent_name"] for run in rows(db_path, "runs")] == ["agent"]


@pytest.mark.parametrize("named", ["by path", "on the PATH"])
def test_python_without_waxlocal_uses_the_original(
    db_path: Path, agent: Path, bare_python: Path, named: str
) -> None:
    """It says so once, and the program runs as it would without `waxlocal run`."""
    install(
        bare_python,
        "waxell_observe",
        {"__init__.py": ORIGINAL, "client.py": "WaxellObserveClient = 1"},
    )
    name = "python" if named == "on the PATH" else bare_python
    path = os.pathsep.join([str(bare_python.parent), os.environ["PATH"]])
    done = run_waxlocal(name, agent, db=db_path, PATH=path)
    assert done.returncode == 0
    assert done.stdout == f"{bare_python} waxell_observe\nthe original\n"
    assert done.stderr.count("has no waxlocal") == 1
    assert not db_path.exists()


def test_python_without_either_says_what_is_missing(
    db_path: Path, agent: Path, tmp_path: Path
) -> None:
    """The error names that Python and what to install there."""
    venv.create(tmp_path / "empty", symlinks=True)
    python = tmp_path / "empty" / "bin" / "python"
    done = run_waxlocal(python, agent, db=db_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: No module named 'waxell_observe'")
    assert f"no waxlocal in {python}" in last


@pytest.mark.parametrize("first", ["#!/bin/sh\necho ran\n", "print('ran')\n"])
@pytest.mark.parametrize("name", ["tool", "tool.py"])
def test_executable_files_and_python_files(
    db_path: Path, tmp_path: Path, first: str, name: str
) -> None:
    """A script with an interpreter of its own is executed; Python source is run by this Python."""
    program = tmp_path / name
    if name == "tool.py":
        first = "#!/nonexistent/python\nprint('ran')\n"
    program.write_text(first)
    program.chmod(0o755)
    done = run_waxlocal("--quiet", program, db=db_path)
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_command_is_found_beside_a_directory_of_its_name(db_path: Path, tmp_path: Path) -> None:
    """`waxlocal run NAME` is the command on the PATH, also where a directory has that name."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "tests"
    command.write_text("#!/bin/sh\necho command\n")
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    assert (ROOT / "tests").is_dir()
    assert run_waxlocal("tests", db=db_path, PATH=path).stdout == "command\n"


def test_only_waxell_observe_is_put_in_front(db_path: Path, tmp_path: Path) -> None:
    """Modules of the program that are called as ours are, are the program's."""
    found = {item.name for item in SHIM.iterdir() if item.name != "__pycache__"}
    assert found == {"sitecustomize.py", "waxell_observe"}  # the first one runs the program's own
    names = ("guard", "collector", "instrumentors", "names", "path", "shim")
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"mine = {name!r}")
    program = tmp_path / "program.py"
    lines = [f"import {name}; print({name}.mine)" for name in names]
    program.write_text("\n".join(["import waxell_observe", *lines]))
    done = run_python("-m", "waxlocal", "run", "-q", program, db=db_path, path=(tmp_path,))
    assert done.split() == list(names)

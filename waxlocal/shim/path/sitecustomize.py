"""Runs at the start of each Python under `waxlocal run`: calls of model libraries are captured.

`site` imports this module by its name, so the environment's own one runs first. A program that
imports no model library pays for one more finder and loads nothing of waxlocal. Python -S, -I and
-E pass this module over.

As in `waxell_observe` beside it: this Python may have no waxlocal, and may be an old one.
"""

import atexit
import os
import sys
from importlib.machinery import PathFinder

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


class _Finder:
    """Knows no module; for the first model library, it lets waxlocal wait for all of them."""

    def __init__(self, modules):  # type: ignore[no-untyped-def]
        self._modules = modules

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        if fullname not in self._modules:
            return None
        _begin()
        self._modules = ()  # not before: another thread may import the next library now
        # What waits now has gone in front of those that Python will ask after this one.
        first = next(finder for finder in sys.meta_path if finder is not self)
        return first.find_spec(fullname, path, target)


def _begin() -> None:
    try:
        from waxlocal.capture.entry import begin_by_default
    except (ImportError, SyntaxError):
        if sys.stderr is not None:
            sys.stderr.write(
                f"waxlocal: {sys.executable} has no waxlocal, or an old one: its calls are not "
                f"captured. Try: {sys.executable} -m pip install --upgrade 'waxlocal[auto]'\n"
            )
        return
    begin_by_default()


def _begin_run() -> None:
    """Begin the run of the whole process; a process that it starts records into its children."""
    if os.environ.get("WAXELL_AGENT_NAME") and not os.environ.get("WAXELL_PARENT_WORKFLOW_ID"):
        try:
            from waxlocal.sdk.process_run import begin_process_run
        except (ImportError, SyntaxError):
            return
        begin_process_run()


def _summarize_at_exit() -> None:
    """Let the process that `waxlocal run` has become say at its end what was recorded.

    Not where it fails: what it says then comes last. What it starts has another number.
    """
    pid, _, asked = os.environ.get("WAXLOCAL_SUMMARY", "").partition(" ")
    if pid == str(os.getpid()):
        began_ns, _, command = asked.partition(" ")
        atexit.register(_summarize, pid, began_ns, command)


def _summarize(pid, began_ns, command):  # type: ignore[no-untyped-def]
    if pid != str(os.getpid()) or getattr(sys, "last_value", None) is not None:
        return
    try:
        from waxlocal.capture.summary import summarize

        summarize(int(began_ns), command)
    except Exception:  # the program has ended: nothing that is ours may look like its error
        return


def _run_own() -> None:
    """Run the `sitecustomize` that this one hides. It cannot find this one, to run it again."""
    hidden = [place for place in sys.path if os.path.abspath(place) == _HERE]  # noqa: PTH100
    sys.path[:] = [place for place in sys.path if place not in hidden]
    try:
        spec = PathFinder.find_spec(__name__)
        if spec is not None and spec.loader is not None:
            from importlib.util import module_from_spec  # takes 4 ms

            # The import statement returns what sys.modules holds after this module was executed.
            sys.modules[__name__] = own = module_from_spec(spec)
            spec.loader.exec_module(own)
    finally:
        sys.path[:0] = hidden


try:
    _run_own()
finally:
    _summarize_at_exit()
    _names = os.environ.get("WAXLOCAL_CAPTURE", "")
    if _names:
        # `FIRST_VARIABLE` of `waxlocal.process`: what this one starts and forks keeps its value.
        os.environ.setdefault("WAXLOCAL_PROCESS", str(os.getpid()))
        _modules = frozenset(_names.split(","))
        sys.meta_path.insert(0, _Finder(_modules))  # type: ignore[no-untyped-call]
    _begin_run()

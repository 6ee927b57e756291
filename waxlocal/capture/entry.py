"""`init()`: the settings of this process, and which libraries are captured."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from typing import Any

from waxlocal.capture.engines import await_imports, uninstrument
from waxlocal.capture.libraries import LIBRARIES
from waxlocal.recording.notices import say, warn
from waxlocal.recording.recorder import current_recorder
from waxlocal.sdk.lifecycle import set_up
from waxlocal.sdk.process_run import begin_process_run
from waxlocal.signal_handlers import Suppress

__all__ = ["begin_by_default", "chosen", "init"]

# Whether `waxlocal run` may choose what is captured: not after the program has done so.
_open = True
# What it chose.
_by_default: list[str] = []


def init(
    api_key: str = "",
    api_url: str = "",
    agent_name: str = "",
    workflow_name: str = "",
    capture_content: bool | None = None,
    instrument: list[str] | None = None,
    exclude: list[str] | None = None,
    instrument_infra: bool = True,
    infra_libraries: list[str] | None = None,
    infra_exclude: list[str] | None = None,
    resource_attributes: dict[str, Any] | None = None,
    debug: bool = False,
    prompt_guard: bool = False,
    prompt_guard_server: bool = False,
    prompt_guard_action: str = "block",
    interaction_mode: str | None = None,
    on_policy_block: Callable[..., Any] | None = None,
    *,
    db: str | os.PathLike[str] | None = None,
    durability: str | None = None,
    mask: Callable[[str], str] | None = None,
    keep_blobs: bool | None = None,
) -> None:
    """Change settings of this process, and capture the calls of the model libraries it imports.

    `instrument` names the libraries to capture, by default all that are known (`LIBRARIES`);
    `exclude` and the variable `WAXELL_EXCLUDE` (names with commas) leave some out. A library is
    captured from its import on, before or after this call; nothing is imported that the program
    does not import. What captures it must be installed: `pip install 'waxlocal[auto]'`.

    `db` is the file to record into, `durability` is `normal` or `full`, `capture_content=False`
    leaves out everything that people, models and tools said, `interaction_mode` is `interactive` or
    `autonomous`. `mask` is a function that gets each text before it is written, and returns what is
    written instead (`docs/configuration.md`). `keep_blobs=True` keeps the images and files in
    captured calls whole, not as their type, size and hash. An argument that is not given leaves its
    setting as it is. `api_url` and `api_key` are kept for `WaxellObserveClient.get_config`. The
    others are accepted, as in the original, and do nothing.

    If the variable `WAXELL_AGENT_NAME` is set, a run of that name begins, which is around all that
    this process records, and ends at exit.

    Runs that are open keep the file and the settings that they began with. Forked children inherit
    the settings, other child processes do not. Raises `ConfigurationError`.
    """
    set_up(
        api_key=api_key,
        api_url=api_url,
        capture_content=capture_content,
        interaction_mode=interaction_mode,
        db=db,
        durability=durability,
        mask=mask,
        keep_blobs=keep_blobs,
    )
    global _open
    _open = False
    instrument, exclude = _listed(instrument), _listed(exclude)
    names = chosen(instrument, exclude)
    _say_what_is_misspelled((*(instrument or ()), *_left_out(exclude)))
    uninstrument(name for name in _by_default if name not in names)
    _by_default.clear()
    if current_recorder().enabled:
        await_imports(names)
        begin_process_run()


def begin_by_default() -> None:
    """Capture all libraries, as `waxlocal run` does for a program that has not called `init`.

    What such a program chooses later counts from then on. Raises nothing: see `await_imports`.
    """
    with Suppress(Exception):  # no home directory, say: the program goes on without
        if _open and current_recorder().enabled:
            _say_what_is_misspelled(_left_out(None))
            _by_default.extend(chosen(None, None))
            await_imports(_by_default)
            atexit.register(_say_if_nothing_recorded, os.getpid())


def _say_if_nothing_recorded(process_id: int) -> None:
    """Say at the exit if there is nothing to show, because what captures the calls is missing.

    Not at the import: the program may record its calls itself. A forked child leaves it to its
    parent, and the process that `waxlocal run` has become to its summary.
    """
    if os.getpid() != process_id or current_recorder().ids.begun:
        return
    from waxlocal.capture.summary import has_summary, said_of_missing  # takes milliseconds

    if not has_summary() and (said := said_of_missing()):
        say(f"waxlocal: nothing was recorded: {said}. Try: waxlocal doctor")


def chosen(wanted: Iterable[str] | None, exclude: Iterable[str] | None) -> list[str]:
    """Return the libraries to capture: those wanted, None means all, without those left out."""
    left_out = _left_out(exclude)
    return [name for name in (LIBRARIES if wanted is None else wanted) if name not in left_out]


def _listed(names: Iterable[str] | str | None) -> list[str] | None:
    """Return names as a list; a text has one alone, or several with commas."""
    if isinstance(names, str):
        return [name.strip() for name in names.split(",")]
    return None if names is None else list(names)


def _left_out(exclude: Iterable[str] | None) -> set[str]:
    found = _listed(os.environ.get("WAXELL_EXCLUDE", "")) or []
    return {*found, *(exclude or ())} - {""}


def _say_what_is_misspelled(names: Iterable[str]) -> None:
    """Warn of a name that is nearly that of a library: `exclude=["opennai"]` leaves nothing out.

    Any other unknown name may be that of a library that only the original SDK captures.
    """
    unknown = [name for name in names if name not in LIBRARIES]
    if not unknown:
        return
    from difflib import get_close_matches  # takes 2 ms

    for name in unknown:
        near = get_close_matches(str(name), LIBRARIES, n=1, cutoff=_NEARLY)
        if near:
            warn(f"init: there is no library {name!r}; did you mean {near[0]!r}?")


# `opennai` and `anthropics` are, `openrouter` and `chroma` are not.
_NEARLY = 0.85

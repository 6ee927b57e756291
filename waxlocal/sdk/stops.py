"""Which exceptions say that nobody wants the rest of the work, and not that it failed."""

from __future__ import annotations

__all__ = ["STOPS", "is_stop"]

# By their names, also those of a base: asyncio's class is another one than that of
# `concurrent.futures`, trio has its own, and none of these need be loaded.
STOPS = frozenset(("Cancelled", "CancelledError", "GeneratorExit", "KeyboardInterrupt"))
_GROUPS = frozenset(("BaseExceptionGroup", "ExceptionGroup"))


def is_stop(error: BaseException) -> bool:
    """Return whether a task was cancelled, a generator closed, Ctrl-C pressed, or the program left.

    The program left with `sys.exit()`, as long as its code says that all is well. A group is a stop
    if all in it are.
    """
    waiting = [error]
    while waiting:
        one = waiting.pop()
        names = {base.__name__ for base in type(one).__mro__}
        if names & _GROUPS:
            waiting += getattr(one, "exceptions", ())
        elif not (names & STOPS or (isinstance(one, SystemExit) and _says_all_is_well(one))):
            return False
    return True


def _says_all_is_well(left: SystemExit) -> bool:
    """Return whether the exit code is none or 0; anything else ends the program with another one.

    The code may be any object, and a subclass may compute it: neither is asked.
    """
    code: object = SystemExit.__dict__["code"].__get__(left)
    return code is None or (type(code) in (int, bool) and not code)

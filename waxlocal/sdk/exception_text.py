"""An exception as text, also one whose own code fails when it is printed."""

from __future__ import annotations

from types import TracebackType

from waxlocal.encode import own_text
from waxlocal.known_types import name_of_type
from waxlocal.signal_handlers import raised_by_handler

__all__ = ["formatted", "printed"]


def printed(error: BaseException) -> str:
    """Return the text of an exception, a placeholder if its `__str__` raises."""
    try:
        return own_text(error)
    except Exception as raised:  # from the program's own __str__
        if raised_by_handler(raised):
            raise
        return f"<unprintable {name_of_type(type(error))}>"


def formatted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> str:
    """Return the traceback as Python prints it, with the exceptions that caused this one."""
    import traceback  # 3 ms to import, and most runs succeed

    try:
        return "".join(traceback.format_exception(kind, error, trace))
    except (
        Exception
    ) as raised:  # from the program's own __str__, of this error or of one in its chain
        if raised_by_handler(raised):
            raise
        return f"{name_of_type(kind)}: {printed(error)}"

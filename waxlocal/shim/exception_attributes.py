"""An exception as the attributes of a span, by the names of OpenTelemetry."""

from __future__ import annotations

from typing import Any

from waxlocal.known_types import name_of_type
from waxlocal.sdk.exception_text import formatted, printed

__all__ = ["build_exception_attrs", "safe_error_str", "set_exception_attrs"]


def safe_error_str(exc: BaseException | None, max_len: int = 2000) -> str:
    """Return the text of an exception, cut to a length; empty for None."""
    return "" if exc is None else printed(exc)[:max_len]


def build_exception_attrs(exc: BaseException, *, escaped: bool = True) -> dict[str, Any]:
    """Return type, message and traceback; `escaped` says whether it left the span."""
    return {
        "exception.type": name_of_type(type(exc)),
        "exception.message": safe_error_str(exc),
        "exception.stacktrace": formatted(type(exc), exc, exc.__traceback__),
        "exception.escaped": escaped,
    }


def set_exception_attrs(span: Any, exc: BaseException | None, *, escaped: bool = True) -> None:
    """Set them at a span that has `set_attribute`; does nothing without a span or an exception."""
    if exc is None or span is None:
        return
    for name, value in build_exception_attrs(exc, escaped=escaped).items():
        span.set_attribute(name, value)

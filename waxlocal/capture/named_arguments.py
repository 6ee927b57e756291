"""Arguments that a program gives by position, and an instrumentation reads by their names alone.

So does that of litellm: of `completion("openai/gpt-4o", messages)` it knew neither of the two.
"""

from __future__ import annotations

from inspect import Parameter, Signature, signature
from typing import Any

import wrapt

from waxlocal.capture.own_calls import Wrapper
from waxlocal.signal_handlers import Suppress

__all__ = ["name_arguments"]


def name_arguments(instrumentor: Any) -> None:
    """Have the functions of litellm that an instrumentation has replaced called by names.

    Ends with the instrumentation, which puts back what was there before it. Raises `AttributeError`
    where that keeps it under another name.
    """
    for name, original in instrumentor.original_litellm_funcs.items():
        wrapt.wrap_function_wrapper("litellm", name, _naming(signature(original)))


def _naming(declared: Signature) -> Wrapper:
    def call(function: Any, _of: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left, named = _named(declared, args)
        return function(*left, **named, **kwargs)

    return call


def _named(declared: Signature, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that stay without a name, and those that have one.

    All stay where the function would not take them: it is to raise what it raises.
    """
    with Suppress(TypeError):
        given = declared.bind_partial(*args).arguments
        if all(declared.parameters[name].kind is Parameter.POSITIONAL_OR_KEYWORD for name in given):
            return (), given
    return args, {}

"""The requests and the tools of one call of google-genai.

Given functions as tools, its `generate_content` asks the model, calls them, and asks again; what it
returns has the counts of the last request alone. OpenTelemetry's instrumentation knows of this one
call, and passes over what is called within it. So what it does around the call is done around each
request with tools, too: of calls inside a call the inner ones count (see `pairing`).

It also puts a wrapper around each function among the tools, in the program's own object: of a
config that is made once, each call would wrap the wrappers of the last one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import wraps
from inspect import getattr_static, iscoroutine, iscoroutinefunction
from typing import Any

import wrapt
from opentelemetry.context import attach, set_value
from opentelemetry.util.genai.invocation import CLIENT_INFERENCE_CONTEXT_KEY

from waxlocal.capture.own_calls import KeptContext, Wrapper
from waxlocal.capture.streams import replace
from waxlocal.signal_handlers import Suppress

__all__ = ["follow_requests"]

# What a program calls; what makes each request of it has the same name, after an underscore.
_CALLS = ("generate_content", "generate_content_stream")


def follow_requests(package: str) -> Callable[[], object]:
    """Have the instrumentation in this package, which is on, report each request with tools.

    Return what ends that. Raises `AttributeError` where google-genai or the instrumentation is
    built in another way; the program's configs stay its own all the same.
    """
    replace(sys.modules.get(f"{package}.generate_content"), "_wrapped_config_with_tools", _copying)
    models = sys.modules["google.genai.models"]
    with ExitStack() as undo:
        for kind in (models.Models, models.AsyncModels):
            for name in _CALLS:
                wrapper = getattr_static(kind, name)._self_wrapper
                request = getattr_static(kind, f"_{name}")
                wrapt.wrap_function_wrapper(kind, f"_{name}", _with_tools(wrapper))
                undo.callback(setattr, kind, f"_{name}", request)
        return undo.pop_all().close


def _with_tools(wrapper: Wrapper) -> Wrapper:
    """Return a wrapper of requests, which does what this one does around those with tools."""

    def call(request: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not getattr(kwargs.get("config"), "tools", None):
            return request(*args, **kwargs)
        with _Outside():
            answer = wrapper(request, instance, args, kwargs)
        return _awaited_outside(answer) if iscoroutine(answer) else answer

    return call


def _copying(wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """Return what wraps the tools of a config, in a copy of it."""

    @wraps(wrapped)
    def call(handler: Any, config: Any) -> Any:
        with Suppress(Exception):
            config = _with_own_tools(config)
        return wrapped(handler, config)

    return call


def _with_own_tools(config: Any) -> Any:
    """Return a config with these tools in a list of its own; not deeply: tools may be anything."""
    is_dict = isinstance(config, dict)
    tools = config.get("tools") if is_dict else getattr(config, "tools", None)
    if not isinstance(tools, list):
        return config
    own = {"tools": [_called_outside(tool) for tool in tools]}
    return {**config, **own} if is_dict else config.model_copy(update=own)


def _called_outside(tool: Any) -> Any:
    """Return a function among the tools so that the models which it calls are captured, too."""
    if not callable(tool):
        return tool
    if iscoroutinefunction(tool):  # the client asks that, too

        @wraps(tool)
        async def later(*args: Any, **kwargs: Any) -> Any:
            return await _awaited_outside(tool(*args, **kwargs))

        return later

    @wraps(tool)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _Outside():
            answer = tool(*args, **kwargs)
        return _awaited_outside(answer) if iscoroutine(answer) else answer

    return call


class _Outside(KeptContext):
    """A block in which calls are reported that are made within another one."""

    __slots__ = ()

    def __enter__(self) -> KeptContext:
        kept = super().__enter__()
        attach(set_value(CLIENT_INFERENCE_CONTEXT_KEY, None))
        return kept


async def _awaited_outside(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with _Outside():
        return await coroutine

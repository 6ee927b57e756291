"""Watching the calls of a function, whatever kind of function it is."""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import AsyncGenerator, Callable, Generator, MutableMapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from waxlocal.encode import shown, snapshot
from waxlocal.sdk.scope import SURROUNDINGS
from waxlocal.sdk.to_come import is_argument, is_to_come

if TYPE_CHECKING:
    import inspect

__all__ = [
    "Arguments",
    "Inside",
    "Watch",
    "name_of",
    "watched",
    "what_runs",
]

F = TypeVar("F", bound=Callable[..., Any])

# What a generator gave is its result; of an endless one only the beginning is kept.
MAX_ITEMS = 10_000


class Watch(Protocol):
    """Something around one call: entered before it, told what it returned, and left after it."""

    def __enter__(self) -> object: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> object:
        """Leave it; `kind` alone: nobody wanted the rest of what a generator gives."""

    def returned(self, value: Any) -> None:
        """Take the value that the call returned, or had yielded until nobody wanted the rest."""

    def broken_off(self, value: Any) -> None:
        """Take what a generator had yielded before it raised."""


Start = Callable[[tuple[Any, ...], dict[str, Any]], Watch]


class Arguments:
    """The parameters of a function, looked up once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        import inspect  # 10 ms, paid where something is decorated

        try:
            self._signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):  # some built-in functions do not say
            self._signature = None
        parameters = self._signature.parameters if self._signature else {}
        self.names = frozenset(parameters)
        self._flattened = {
            name for name, p in parameters.items() if p.kind is inspect.Parameter.VAR_KEYWORD
        }

    def by_name(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], without: str = ""
    ) -> dict[str, Any]:
        """Return the arguments of a call by parameter name; objects as their text.

        `self` and `cls` are left out, `**kwargs` spread out. Arguments that do not fit (the call
        itself will say so) give an empty dict.
        """
        if self._signature is None:
            return {}
        try:
            bound = self._signature.bind_partial(*args, **kwargs)
        except TypeError:
            return {}
        bound.apply_defaults()
        found: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if name in self._flattened:
                found.update(value)
            elif name not in ("self", "cls", without):
                found[name] = value
        return {name: shown(value) for name, value in found.items()}


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function; of an object that can be called, the name of its type."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def what_runs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a call runs, to ask whether that is async or a generator.

    `inspect` looks through a `partial`, but not into an object with an `async def __call__`.
    """
    import inspect

    if inspect.isroutine(function) or isinstance(function, functools.partial | type):
        return function
    method: Callable[..., Any] = type(function).__call__
    return method


def watched(function: F, start: Start) -> F:
    """Return a function of the same kind, each call of which is watched.

    `start` gets the call's arguments (it may change the keyword arguments) and returns the watch.
    A generator is watched from its first step to its end, and only while it runs: what its
    consumer does between two steps is not inside.
    """
    import inspect

    wrapper: Any
    runs = what_runs(function)
    if inspect.isasyncgenfunction(runs):
        wrapper = _watched_async_generator(function, start)
    elif inspect.isgeneratorfunction(runs):
        wrapper = _watched_generator(function, start)
    elif inspect.iscoroutinefunction(runs):
        wrapper = _watched_coroutine(function, start)
    else:
        wrapper = _watched_function(function, start)
    return functools.wraps(function)(wrapper)  # type: ignore[return-value]


def _watched_function(function: Callable[..., Any], start: Start) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        outer = _surroundings()
        watch = start(args, kwargs)
        watch.__enter__()
        try:
            value = function(*args, **kwargs)
            if type(value) in _WATCHED and not is_argument(value, args, kwargs):
                handed_out = _handed_out().get(value)
                if handed_out is not None:  # the same object again, while somebody holds it
                    value = handed_out() or value
                elif is_to_come(value):
                    return _to_come(value, watch, outer)
            watch.returned(value)
        except BaseException as error:
            watch.__exit__(type(error), error, error.__traceback__)
            raise
        watch.__exit__(None, None, None)
        return value

    return call


def _watched_coroutine(function: Callable[..., Any], start: Start) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        watch = start(args, kwargs)
        with watch:
            value = await function(*args, **kwargs)
            watch.returned(value)
        return value

    return call


def _watched_generator(function: Callable[..., Any], start: Start) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        # Its own context: variables that are set inside stay there when it yields.
        inside = contextvars.copy_context()
        watch = inside.run(start, args, kwargs)
        inside.run(watch.__enter__)
        given: list[Any] = []
        returned: Any = None
        left = None
        try:
            generator = function(*args, **kwargs)
            step: Callable[[], Any] = functools.partial(next, generator)
            while True:
                try:
                    item = inside.run(step)
                except StopIteration as stop:
                    returned = stop.value
                    break
                _keep(given, item)
                try:
                    step = functools.partial(generator.send, (yield item))
                except GeneratorExit:
                    left = GeneratorExit
                    inside.run(generator.close)
                    break
                except BaseException as error:
                    step = functools.partial(generator.throw, error)
        except BaseException as error:
            if given:
                inside.run(watch.broken_off, _joined(given, None))
            inside.run(watch.__exit__, type(error), error, error.__traceback__)
            raise
        inside.run(watch.returned, _joined(given, returned))
        inside.run(watch.__exit__, left, None, None)
        return returned

    return call


def _watched_async_generator(function: Callable[..., Any], start: Start) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inside = Inside()
        with inside:
            watch = start(args, kwargs)
            watch.__enter__()
        given: list[Any] = []
        left = None
        try:
            generator = function(*args, **kwargs)
            step: Callable[[], Any] = functools.partial(generator.asend, None)
            while True:
                try:
                    with inside:
                        item = await step()
                except StopAsyncIteration:
                    break
                _keep(given, item)
                try:
                    step = functools.partial(generator.asend, (yield item))
                except GeneratorExit:
                    left = GeneratorExit
                    with inside:
                        await generator.aclose()
                    break
                except BaseException as error:
                    step = functools.partial(generator.athrow, error)
        except BaseException as error:
            with inside:
                if given:
                    watch.broken_off(_joined(given, None))
                watch.__exit__(type(error), error, error.__traceback__)
            raise
        with inside:
            watch.returned(_joined(given, None))
            watch.__exit__(left, None, None)

    return call


# What a call can give that has done nothing yet, and what watches it.
_WATCHED: dict[type, Callable[..., Callable[..., Any]]] = {
    AsyncGeneratorType: _watched_async_generator,
    CoroutineType: _watched_coroutine,
    GeneratorType: _watched_generator,
}


@functools.cache
def _handed_out() -> MutableMapping[Any, Any]:
    """Return what functions gave that was to come: of each a weak reference to what watches it.

    A function may give the same object at each call. It is watched once.
    """
    import weakref  # a millisecond to import, and rarely needed

    return weakref.WeakKeyDictionary()


def _to_come(value: Any, watch: Watch, outer: tuple[Any, ...]) -> Any:
    """Return the same kind of object, to whose end the watch stays open; bring back `outer`."""
    import weakref

    entered = _Entered(watch)
    _surround(*outer)
    kind = type(value)
    inner = value if kind is CoroutineType else _Held(value, entered)
    made = _WATCHED[kind]([inner].pop, lambda _args, _kwargs: entered)()
    # At exit it is the recorder that ends what is open.
    weakref.finalize(made, entered.dropped).atexit = False
    _handed_out()[value] = weakref.ref(made)
    return made


class _Held:
    """A generator or an async generator that a call gave, and that others may hold as well.

    Python closes a generator when its last holder drops it. So where what watches it is dropped,
    the generator is closed only if nobody else holds it; where that is closed, so is the generator.
    """

    def __init__(self, generator: Any, entered: _Entered) -> None:
        self._generator = generator
        self._entered = entered

    def __next__(self) -> Any:
        return next(self._generator)

    def send(self, value: Any) -> Any:
        return self._generator.send(value)

    def throw(self, error: BaseException) -> Any:
        return self._generator.throw(error)

    def close(self) -> None:
        if self._is_to_close():
            self._generator.close()

    def asend(self, value: Any) -> Any:
        return self._generator.asend(value)

    def athrow(self, error: BaseException) -> Any:
        return self._generator.athrow(error)

    async def aclose(self) -> None:
        if self._is_to_close():
            await self._generator.aclose()

    def _is_to_close(self) -> bool:
        # References: of this object, and of the call that counts them.
        return not self._entered.is_dropped or sys.getrefcount(self._generator) <= 2


class _Entered:
    """A watch that was entered with the call, around what the call gave."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._inside = Inside()
        self._begun = False
        self.is_dropped = False
        self.returned = watch.returned
        self.broken_off = watch.broken_off

    def __enter__(self) -> None:
        self._begun = True
        self._inside.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._watch.__exit__(kind, error, trace)
        self._inside.__exit__()

    def dropped(self) -> None:
        """Note that nobody holds what is watched, and end the watch if it has not begun."""
        # Python calls this, as a weak reference's callback, before it closes a generator.
        self.is_dropped = True
        if not self._begun:
            self._watch.__exit__(None, None, None)


class Inside:
    """The current run, span and session of an async generator, in place only while it runs.

    Its steps are awaited by its consumer's task, which Python 3.10 cannot run in another context.
    """

    def __init__(self) -> None:
        self._state = _surroundings()

    def copy(self) -> Inside:
        """Return the same surroundings for another call."""
        other = Inside()
        other._state = self._state
        return other

    def __enter__(self) -> None:
        self._outer = _surroundings()
        _surround(*self._state)

    def __exit__(self, *left: object) -> None:
        self._state = _surroundings()
        _surround(*self._outer)


def _surroundings() -> tuple[Any, ...]:
    return tuple(variable.get() for variable in SURROUNDINGS)


def _surround(*values: Any) -> None:
    for variable, value in zip(SURROUNDINGS, values, strict=True):
        variable.set(value)


def _keep(given: list[Any], item: Any) -> None:
    if len(given) < MAX_ITEMS:
        given.append(snapshot(item))  # its consumer may change it


def _joined(given: list[Any], returned: Any) -> Any:
    """Return what a generator gave as one value: pieces of text make one text."""
    if returned is not None:
        return returned
    if given and all(isinstance(item, str) for item in given):
        return "".join(given)
    return given

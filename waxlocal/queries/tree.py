"""The spans of a run as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from waxlocal.queries.record_rows import Span

__all__ = ["span_tree"]

# Spans below this depth become siblings at this level. Readers of the tree recurse, and an agent
# that calls itself without end must not exhaust their stack.
MAX_DEPTH = 100


def span_tree(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the root spans, with their children, of spans given in order of position.

    A span without a parent in the list is a root; so is the first span of a parent cycle.
    """
    parents = _parents(spans)
    inside: dict[int | None, list[Span]] = {}
    for span in spans:
        inside.setdefault(parents[span.position], []).append(span)
    # Parents before children; read backwards below, since a frozen span needs its children first.
    order: list[tuple[Span, int | None]] = []
    waiting: list[tuple[Span, int | None, int]] = [(span, None, 1) for span in inside.get(None, ())]
    while waiting:
        span, holder, depth = waiting.pop()
        order.append((span, holder))
        below, level = (holder, depth) if depth == MAX_DEPTH else (span.position, depth + 1)
        waiting.extend((child, below, level) for child in inside.get(span.position, ()))
    done: dict[int | None, list[Span]] = {}
    for span, holder in reversed(order):
        children = sorted(done.pop(span.position, ()), key=lambda child: child.position)
        done.setdefault(holder, []).append(replace(span, children=tuple(children)))
    return tuple(sorted(done.get(None, ()), key=lambda root: root.position))


def _parents(spans: Sequence[Span]) -> dict[int, int | None]:
    """Return each span's parent, without missing parents and without cycles."""
    known = {span.position for span in spans}
    parents = {
        span.position: span.parent_position if span.parent_position in known else None
        for span in spans
    }
    safe: set[int] = set()
    for position in parents:
        path: list[int] = []
        one: int | None = position
        while one is not None and one not in safe:
            safe.add(one)
            path.append(one)
            one = parents[one]
        if one in path:
            parents[min(path[path.index(one) :])] = None
    return parents

"""The spans of a run as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from waxlocal.queries.rows import Span

__all__ = ["span_tree"]

# Deeper spans hang beside each other on this level: what reads the tree goes down by recursion,
# and an agent that calls itself without end must not stop it.
MAX_DEPTH = 100


def span_tree(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the outermost of these spans (given in order of position), with the others inside.

    A span whose parent is not among them is an outermost one; where parents form a circle, the
    span of it that comes first is.
    """
    parents = _parents(spans)
    inside: dict[int | None, list[Span]] = {}
    for span in spans:
        inside.setdefault(parents[span.position], []).append(span)
    # Parents before children; read backwards below, where a frozen span takes finished children.
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
    """Return each span's parent, without missing ones and without circles."""
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

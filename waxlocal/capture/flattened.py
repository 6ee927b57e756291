"""Structures that were flattened into attributes: `llm.input_messages.0.message.role` and the like.

An attribute of a span may not hold a structure, so OpenInference, traceloop and others write one
attribute for each leaf. Indexes may begin at 1 (OpenAI's responses), have holes, and come in any
order.
"""

from __future__ import annotations

from typing import Any

from waxlocal.capture.facts import Attributes

__all__ = ["items_of", "listed", "unflattened"]

# More levels, or larger numbers, nobody writes.
MAX_SEGMENTS = 32
MAX_DIGITS = 9


def unflattened(attributes: Attributes, prefix: str) -> dict[str, Any]:
    """Return the tree of all attributes under "prefix.": dicts by name, leaves as they are."""
    tree: dict[str, Any] = {}
    start = prefix + "."
    for name, value in attributes.items():
        if not isinstance(name, str) or not name.startswith(start):
            continue
        path = name[len(start) :].split(".")
        if len(path) > MAX_SEGMENTS:
            continue
        inner = tree
        for segment in path[:-1]:
            below = inner.setdefault(segment, {})
            if not isinstance(below, dict):  # a leaf of that name came before
                break
            inner = below
        else:
            inner.setdefault(path[-1], value)
    return tree


def listed(tree: object) -> list[Any]:
    """Return the items of {"0": ..., "1": ...} by their numbers; an empty list without any."""
    if not isinstance(tree, dict):
        return []
    numbered = [
        (int(name), item)
        for name, item in tree.items()
        if len(name) <= MAX_DIGITS and name.isascii() and name.isdigit()
    ]
    return [item for _, item in sorted(numbered, key=lambda pair: pair[0])]


def items_of(attributes: Attributes, prefix: str) -> list[Any]:
    """Return the items under "prefix.0", "prefix.1", ... by their numbers."""
    return listed(unflattened(attributes, prefix))

"""What a run can be found by beside its words: a word of its own for each name and value.

So `user:42 refund` is one question to the index, and not one for each run with the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b

from waxlocal.search.words import folded

__all__ = ["EVERY", "FACETS", "facet", "model_names"]

# The names, in the order in which help lists them.
FACETS = ("user", "agent", "model", "tool", "status", "tag", "session", "error")
_LETTERS = {name: chr(ord("a") + place) for place, name in enumerate(FACETS)}
# The word of every run: FTS5 can only leave out some of those that it has found.
EVERY = "every"
# Where the name of a model may end: `gpt-4o` also finds `openai/gpt-4o-2024-08-06`.
_ENDS = re.compile(r"[-:@/.]")


def facet(name: str, value: str) -> str:
    """Return the word for a name and a value, whatever its case and accents."""
    given = folded(value).encode("utf-8", "replace")
    return _LETTERS[name] + blake2b(given, digest_size=8).hexdigest()


def model_names(model: str) -> Iterator[str]:
    """Give what a model may be called: with or without what stands in front or behind."""
    yield model
    for name in {model, model.rpartition("/")[2]}:
        yield name
        yield from (name[: end.start()] for end in _ENDS.finditer(name) if end.start())

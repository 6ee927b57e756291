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
# Where a part of a model's name ends: `gpt-4o*` also finds `gpt-4o-mini`.
_ENDS = re.compile(r"[-:@/]")
# What makes no other model, but is a date or version of it: `2024-08-06`, `0613`, `v1:0`.
_VERSION = re.compile(
    r"(?:{0})(?:[-:@](?:{0}))*".format(
        r"\d{4}-\d\d-\d\d|\d\d-\d\d|\d{3,8}|v\d[\d.]*(?::\d+)?|latest|preview|exp"
    )
)
# As Bedrock has it: `anthropic.claude-3`.
_VENDOR = re.compile(r"^(?:[a-z]{2}\.)?[a-z]+\.(?=[a-z])")


def facet(name: str, value: str) -> str:
    """Return the word for a name and a value, whatever its case and accents."""
    given = folded(value).encode("utf-8", "replace")
    return _LETTERS[name] + blake2b(given, digest_size=8).hexdigest()


def model_names(model: str) -> Iterator[str]:
    """Give what a model may be called: without its vendor, without its version; `gpt*`."""
    if vendor := _VENDOR.match(model):
        yield f"{vendor[0][:-1]}*"
    for name in {model, model.rpartition("/")[2], _VENDOR.sub("", model)}:
        yield name
        for end in _ENDS.finditer(name):
            before, behind = name[: end.start()], name[end.end() :]
            if _VERSION.fullmatch(behind):
                yield before
            yield f"{before}*"
        yield f"{name}*"

"""The texts that the package brings along: the schema and its migrations."""

from __future__ import annotations

import os

__all__ = ["shipped_text"]


def shipped_text(name: str) -> str:
    """Return a text file of the package, by its path there; raises `OSError`.

    From wherever the package was loaded, also from a zip, as some services are deployed. Not by
    `importlib.resources` or `pkgutil`: a program that records would pay for loading them.
    """
    package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 (what a zip is asked for)
    path = os.path.join(package, *name.split("/"))  # noqa: PTH118
    data: bytes = __spec__.loader.get_data(path)  # type: ignore[union-attr]
    return data.decode("utf-8")

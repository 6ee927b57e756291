"""Values that a program printed instead of recording them: `{'answer': 'Yes'}`, `Answer(a='Yes')`.

Programs often record `str(result)`. What Python and Pydantic print is read as far as it is literal;
nothing is run, and no name is looked up.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["from_python", "is_printed_message", "is_printed_object", "is_row_of_fields"]

# Longer texts are hardly ever printed values, and Python takes a microsecond for each character.
_MOST_CHARS, _MOST_ROW_CHARS = 50_000, 20_000
# How often the end of a field is looked for, in all fields of a row: each time may parse all of it.
_MOST_TRIES, _MOST_VALUE_CHARS = 16, 2_000

# What a printed value begins with; nearly all text is told apart here.
_VALUE = re.compile(r"""\s*(?:\{\s*['"]|\[\s*(?:\{\s*['"]|[A-Z]\w*\(\w+=)|[A-Z]\w*\(\w+=)""")
_FIELD = re.compile(r"\s*([A-Za-z_]\w*)=")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_NEXT_FIELD = re.compile(r"\s(?=[A-Za-z_]\w*=)|\Z")
# An escape that Python does not print; the parser would warn of it.
_NO_ESCAPE = re.compile(r"\\(?![\\'\"nrtxuU])")
# A number that goes on as a word, `1if`: the parser would warn of it.
_NUMBER_WORD = re.compile(r"(?<!\w)\d[\w.]*(?:and|else|for|if|in|is|or)\b")
# Bits of 4,300 digits, which is all that Python turns into text; hex digits are read beyond that.
# https://docs.python.org/3/library/stdtypes.html#int-max-str-digits
_MOST_BITS = 14_000
_ADDRESS = re.compile(r"<[\w.]+(?: object)? at 0x[0-9a-fA-F]+>")
_MEMBER = re.compile(r"<[\w.]+: ('[^'\\\n]*'|-?\d+)>")


def from_python(text: str) -> dict[str, Any] | list[Any] | None:
    """Return a printed dict, list, object or row of fields as plain values; None for other text.

    An object is the dict of its fields. A value that is not literal is None in it.
    """
    is_value = _VALUE.match(text) is not None
    if not (is_value or _FIELD.match(text)):
        return None
    if len(text) > (_MOST_CHARS if is_value else _MOST_ROW_CHARS) or _NO_ESCAPE.search(text):
        return None
    if _NUMBER_WORD.search(text):
        return None
    text = _MEMBER.sub(r"\1", _ADDRESS.sub("None", text))
    value = _parsed(text.strip()) if is_value else _fields(text)
    return value if isinstance(value, dict | list) else None


def is_printed_message(text: str) -> bool:
    """Return whether it is a message as LangChain prints it: nobody types that."""
    return text.startswith("content=") and " additional_kwargs={" in text


def is_row_of_fields(text: str) -> bool:
    """Return whether it begins as fields without an object around them."""
    return _FIELD.match(text) is not None


def is_printed_object(text: str) -> bool:
    """Return whether it is all that Python prints of an object: its class and its address."""
    return _ADDRESS.fullmatch(text) is not None


def _parsed(text: str) -> Any:
    try:
        return _plain(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _fields(text: str) -> dict[str, Any] | None:
    """Return the fields in `answer='Yes' confidence=0.9`, as Pydantic prints them."""
    found: dict[str, Any] = {}
    at, tries = 0, iter(range(_MOST_TRIES))
    while at < len(text) and text[at:].strip():
        field = _FIELD.match(text, at)
        if field is None:
            return None
        end = _end_of_value(text, field.end(), tries)
        if end is None:
            return None
        found[field[1]] = _parsed(text[field.end() : end])
        at = end
    return found


def _end_of_value(text: str, at: int, tries: Iterator[int]) -> int | None:
    """Return where the value that begins here ends; None if it is not found."""
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return quoted.end()
    for _, end in zip(tries, _NEXT_FIELD.finditer(text, at), strict=False):
        if end.start() - at > _MOST_VALUE_CHARS:
            break
        value = text[at : end.start()].strip()
        if not value.endswith(",") and _is_literal(value):  # `a=1, b=2` is written by hand
            return end.start()
    return None


def _is_literal(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _plain(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if _is_shown(node.value) else None
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(_plain(key)): _plain(value) for key, value in pairs if key is not None}
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _plain(node.operand)
        return -number if isinstance(number, int | float) else None
    return _object(node) if isinstance(node, ast.Call) else None


def _is_shown(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _MOST_BITS
    return isinstance(value, str | float)


def _object(node: ast.Call) -> dict[str, Any] | None:
    """Return the fields of a printed object; those of a message name its role."""
    if node.args:  # a date, a set
        return None
    found = {field.arg: _plain(field.value) for field in node.keywords if field.arg is not None}
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name.endswith(("Message", "MessageChunk")) and "content" in found:
        found = {"role": name, **found}
    return found

"""The settings of a call: temperature, limits and the like, by OpenAI's names.

Instrumentations write down the arguments of a call as they find them, less those that they know to
be something else. So a setting may be a key of the program, or what somebody said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from waxlocal.capture.attribute_map import first
from waxlocal.capture.bounds import bounded
from waxlocal.capture.facts import Attributes
from waxlocal.decode import from_json

__all__ = ["PREFIXES", "settings_of"]

# What is a fact of its own.
_NOT_SETTINGS = frozenset((
    "model", "messages", "input", "contents", "prompt", "system", "tools", "functions", "stream",
    "instructions",
))  # fmt: skip
_PARAMETERS = ("llm.invocation_parameters", "embedding.invocation_parameters")
_REQUEST = "gen_ai.request."
_AI_SETTINGS = "ai.settings."
_AI_CONTEXT = "ai.settings.context."  # the program's own: session, user, ...
# How the attributes begin that settings are read from.
PREFIXES = (_REQUEST, _AI_SETTINGS)
# litellm takes the keys of all vendors as arguments, and its instrumentation leaves out `api_key`
# alone. A name like one of a key is no reason to leave out a number or a JSON schema.
_SECRET = re.compile(r"key|secret|password|authorization|credential|(?:^|_)token$", re.IGNORECASE)
_HOLD_SECRETS = frozenset(("headers", "extra_headers", "default_headers", "vertex_credentials"))


def settings_of(given: Attributes) -> dict[str, Any]:
    """Return the settings of a call, without keys of the program's."""
    found: dict[str, Any] = {}
    parameters: Any = from_json(first(given, _PARAMETERS))
    if isinstance(parameters, Mapping):
        found.update(parameters)
    for name, value in given.items():
        if not isinstance(name, str):
            continue
        if name.startswith(_AI_SETTINGS) and not name.startswith(_AI_CONTEXT):
            found[name.removeprefix(_AI_SETTINGS)] = value
        elif name.startswith(_REQUEST):
            short = name.removeprefix(_REQUEST)
            found["n" if short == "choice.count" else short] = value
    # Some write an empty text or list for what was not set.
    settings = {
        name: value
        for name, value in found.items()
        if name not in _NOT_SETTINGS and not (isinstance(value, str | list) and not value)
    }
    plain: dict[str, Any] = _without_secrets(bounded(settings))
    return plain


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _without_secrets(inner)
        for name, inner in value.items()
        if name not in _HOLD_SECRETS and not (isinstance(inner, str) and _SECRET.search(name))
    }

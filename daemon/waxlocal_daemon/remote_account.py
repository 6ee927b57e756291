"""Asks a server which account a key is for."""

from __future__ import annotations

import httpx

from waxlocal.delivery.accounts import account_of
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.wire.paths import CONFIG
from waxlocal_daemon.answers import Unreadable, read_json

__all__ = ["remote_account"]


def remote_account(client: httpx.Client, settings: UploadSettings) -> str | None:
    """Return the account that the server's configuration names; None if it names none.

    Raises nothing: None where it does not answer, either.
    """
    try:
        answer = client.get(settings.api_url + CONFIG)
        config = read_json(answer.content, settings.api_key) if answer.status_code == 200 else {}
    except (httpx.HTTPError, httpx.InvalidURL, Unreadable):
        return None
    return account_of(config) if isinstance(config, dict) else None

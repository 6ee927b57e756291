"""Checks the server's certificate, always; which authorities are trusted."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from waxlocal.errors import ConfigurationError

__all__ = ["tls_context"]

_FILE = "SSL_CERT_FILE"
_DIRECTORY = "SSL_CERT_DIR"


def tls_context(environ: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """Return a context that requires a valid certificate for the server's name, and TLS 1.2.

    Trusts the authorities in `SSL_CERT_FILE` (PEM) and `SSL_CERT_DIR` (prepared by
    `openssl rehash`); if neither is set, those of certifi. Raises `ConfigurationError` for a file
    or a directory that cannot be used.
    """
    environ = os.environ if environ is None else environ
    file, directory = environ.get(_FILE) or None, environ.get(_DIRECTORY) or None
    if file is None and directory is None:
        import certifi

        file = certifi.where()
    # OpenSSL silently accepts a directory that does not exist.
    if directory is not None and not Path(directory).is_dir():
        raise ConfigurationError(
            f"{_DIRECTORY} is {directory!r}, which is not a directory", hint=f"unset {_DIRECTORY}"
        )
    try:
        context = ssl.create_default_context(cafile=file, capath=directory)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(
            f"{_FILE} is {file!r}, which holds no usable certificates: {said}",
            hint=f"name a PEM file with certificate authorities, or unset {_FILE}",
        ) from error
    # Python does not raise the minimum where OpenSSL was built with one of its own, as on Debian.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context

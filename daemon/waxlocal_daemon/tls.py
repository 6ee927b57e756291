"""Which certificates a server's own is checked against; it always is."""

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
    """Return a context that demands a valid certificate for the server's name, and TLS 1.2.

    Trusted are the authorities in `SSL_CERT_FILE` (PEM) and `SSL_CERT_DIR` (as `openssl rehash`
    leaves it), or, with neither set, those that certifi brings. Raises `ConfigurationError` for a
    file or a directory that cannot be used.
    """
    environ = os.environ if environ is None else environ
    file, directory = environ.get(_FILE) or None, environ.get(_DIRECTORY) or None
    if file is None and directory is None:
        import certifi

        file = certifi.where()
    # OpenSSL takes a directory that is not there without a word.
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
    # Where OpenSSL was built with a lower bound of its own (Debian), Python leaves it at that.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context

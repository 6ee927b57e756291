"""Checks the server's certificate, always; which authorities are trusted."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from waxlocal.errors import ConfigurationError

__all__ = ["hint_for", "tls_context"]

# OpenSSL's name, then those of requests and curl, by which a machine is often set up.
_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DIRECTORY = "SSL_CERT_DIR"


def hint_for(reason: str) -> str:
    """Return what to do about a server that is not trusted; empty for any other reason."""
    if "CERTIFICATE_VERIFY_FAILED" not in reason:
        return ""
    return "name who signed the certificate: ca_file in the profile, or SSL_CERT_FILE"


def tls_context(environ: Mapping[str, str] | None = None, ca_file: str = "") -> ssl.SSLContext:
    """Return a context that requires a valid certificate for the server's name, and TLS 1.2.

    Trusts the authorities in `SSL_CERT_FILE` (PEM), else `REQUESTS_CA_BUNDLE`, else
    `CURL_CA_BUNDLE`, and in `SSL_CERT_DIR` (prepared by `openssl rehash`); if none is set, those of
    certifi and of the system. Of requests and curl a directory will do, too. `ca_file`, that of the
    profile, takes the place of all of them. Raises `ConfigurationError` for a file or a directory
    that cannot be used.
    """
    if ca_file:
        return _checked_context(ca_file, [], "ca_file")
    environ = os.environ if environ is None else environ
    name = next((one for one in _FILES if environ.get(one)), _FILES[0])
    file, directories = environ.get(name) or None, _directories(environ)
    if file is not None and name != _FILES[0] and Path(file).is_dir():
        directories.append(file)
        file = None
    return _checked_context(file, directories, name)


def _checked_context(file: str | None, directories: Sequence[str], name: str) -> ssl.SSLContext:
    """Return a context that trusts these; `name` is that of the setting with the file."""
    try:
        context = _context(file, directories)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(
            f"{name} is {file!r}, which holds no usable certificates: {said}",
            hint=f"name a PEM file with certificate authorities, or unset {name}",
        ) from error
    # Python does not raise the minimum where OpenSSL was built with one of its own, as on Debian.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context


def _directories(environ: Mapping[str, str]) -> list[str]:
    directory = environ.get(_DIRECTORY)
    # OpenSSL silently accepts a directory that does not exist.
    if directory and not Path(directory).is_dir():
        raise ConfigurationError(
            f"{_DIRECTORY} is {directory!r}, which is not a directory", hint=f"unset {_DIRECTORY}"
        )
    return [directory] if directory else []


def _context(file: str | None, directories: Sequence[str]) -> ssl.SSLContext:
    """Return a context that trusts these; without any, certifi and the system."""
    if file is None and not directories:
        import certifi

        context = ssl.create_default_context(cafile=certifi.where())
        # On Linux OpenSSL's own directory, on Windows the store of the system; on macOS, nothing.
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    context = ssl.create_default_context(cafile=file, capath=next(iter(directories), None))
    for directory in directories[1:]:
        context.load_verify_locations(capath=directory)
    return context

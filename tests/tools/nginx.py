"""nginx as a real process in front of a server, configured as docs/proxy.md has it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.tools.patience import PATIENCE_S, wait_until

__all__ = ["documented", "nginx", "without"]

_DOCS = Path(__file__).parents[2] / "docs" / "proxy.md"
_FRAME = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {server}
}}
"""


def documented(*, below_path: bool = False) -> str:
    """Return the documented server block; `below_path` has the location below /waxlocal/."""
    server, location = re.findall(r"```nginx\n(.*?)```", _DOCS.read_text(encoding="utf-8"), re.S)
    if not below_path:
        return str(server)
    return re.sub(r"location / \{.*?\}", lambda _found: location, server, flags=re.S)


def without(configuration: str, *headers: str) -> str:
    """Return a configuration that does not set these headers: it passes on what clients send."""
    for header in headers:
        configuration, count = re.subn(rf" *proxy_set_header {header} .*\n", "", configuration)
        assert count == 1, header
    return configuration


@contextmanager
def nginx(configuration: str, to: str, certificate: Path, directory: Path) -> Iterator[str]:
    """Run nginx with a documented server block in front of an address; give its own address."""
    command = _command()
    port = _free_port()
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/hub.example.pem": str(certificate),
        "/etc/ssl/hub.example.key": str(certificate),
        "127.0.0.1:8765": urlsplit(to).netloc,
    }
    for documented_, real in changes.items():
        assert documented_ in configuration, documented_
        configuration = configuration.replace(documented_, real)
    directory.mkdir()
    file = directory / "nginx.conf"
    file.write_text(_FRAME.format(directory=directory, server=configuration))
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [command, "-p", str(directory), "-c", str(file)], stdout=log, stderr=log
        )
    try:
        wait_until(lambda: process.poll() is not None or _listens(port))
        assert process.poll() is None, (directory / "log").read_text()
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _command() -> str:
    # Only root has its directory in the path.
    found = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if found is None:
        pytest.skip("nginx is missing: apt-get install nginx-light")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True

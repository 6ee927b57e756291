"""The stand-in for use by hand: `python -m tests.vendors --port 43701`."""

from __future__ import annotations

import argparse
import json
import sys

from tests.vendors.replies import NAMES
from tests.vendors.server import VendorServer

GUIDE = """\
The vendors' APIs, on {url}

  OPENAI_BASE_URL={url}/v1
  ANTHROPIC_BASE_URL={url}
  GOOGLE_GEMINI_BASE_URL={url}
  AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}

Any key will do. The answer repeats the last user message; the first tool that is offered is
called, once; tokens are words. The model's name can say what happens: {names}.
"""


def main() -> int:
    """Serve until Ctrl-C is pressed."""
    parser = argparse.ArgumentParser(prog="python -m tests.vendors", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--log", action="store_true", help="print the body of each request, too")
    shown.add_argument("--quiet", action="store_true", help="print no request")
    given = parser.parse_args()
    server = VendorServer(given.port)
    try:
        server.start()
    except OSError as error:
        print(f"Error: port {given.port} cannot be had: {error.strerror}", file=sys.stderr)
        return 1
    print(GUIDE.format(url=server.url, names=NAMES), flush=True)
    try:
        _wait(server) if given.quiet else _log(server, given.log)
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
    return 0


def _wait(server: VendorServer) -> None:
    # No count has this name: only Ctrl-C ends this.
    server.wait_for(patience_s=None, never=1)


def _log(server: VendorServer, aloud: bool) -> None:
    shown = 0
    while True:
        server.wait_for(received=shown + 1, patience_s=None)
        for request in server.requests[shown:]:
            shown += 1
            body = f" {json.dumps(request.body)}" if aloud else ""
            print(f"{request.method} {request.path}{body}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

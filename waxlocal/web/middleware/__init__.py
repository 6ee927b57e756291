"""ASGI middleware, from the outside in: security headers, request log, guards with Host checks."""

"""ASGI middleware, from the outside in: security headers, request log, guards, compression."""

"""ASGI middleware: request guards, Host checks, request log and security headers."""

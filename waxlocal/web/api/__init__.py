"""The HTTP API: ingest and query routes, errors, and the OpenAPI document."""

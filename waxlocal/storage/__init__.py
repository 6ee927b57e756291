"""The file: where it is, its schema, and the only connections to it."""

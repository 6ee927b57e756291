"""The names that programs import: contexts, decorators, the client, and the records they make."""

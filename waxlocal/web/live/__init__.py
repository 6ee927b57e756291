"""Pages that stay open: what has changed on them, told as server-sent events."""

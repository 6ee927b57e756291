"""Merges runs that arrive over HTTP into the file: each once, however often it is sent."""

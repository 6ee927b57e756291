"""The API: what programs ask and send, and its description."""

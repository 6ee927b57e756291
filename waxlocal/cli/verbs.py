"""The subcommands of `waxlocal`, in the order of the help text, each with what it does."""

from __future__ import annotations

__all__ = ["VERBS"]

# Each subcommand is the function of that name in the module of that name. Modules are imported on
# demand, so that `path` and `--help` start without the libraries that other subcommands need.
VERBS = {
    "sessions": "List conversations.",
    "runs": "List runs, with or without a session.",
    "session": "Show one conversation, turn by turn.",
    "show": "Show everything that one run recorded.",
    "search": "Find the turns in which something was said.",
    "stats": "Show statistics over sessions: turns, abandonment, cost, duration.",
    "users": "List users: sessions, tokens, cost, duration.",
    "models": "List models: calls, errors, tokens, cost, latency.",
    "sql": "Query the file with SQL.",
    "tail": "Print runs as they end.",
    "sync": "Upload pending runs; show and retry parked ones.",
    "daemon": "Upload in the background; install it as a service.",
    "serve": "Serve the API and the dashboard.",
    "prices": "List, set and unset model prices; recompute costs.",
    "run": "Run an unchanged program and record it and its model calls.",
    "doctor": "Say whether model calls are captured, and what to install.",
    "demo": "Record sample conversations and show what waxlocal does with them.",
    "recover": "Save what can be read of a damaged file.",
    "forget": "Delete all recordings of a user, a session or a run.",
    "path": "Print the path of the file.",
    "schema": "Print the schema of the file as SQL.",
    "completion": "Print the completion script for a shell.",
}

"""The local server: the API for programs and the dashboard for people."""

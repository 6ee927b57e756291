"""The local server: the API that programs call, and pages for people."""

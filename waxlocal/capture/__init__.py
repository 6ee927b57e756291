"""Calls of model libraries, captured from the spans that their instrumentations emit.

What a span says is read by pure functions (`span_facts` and what it uses), which know neither
OpenTelemetry nor the recorder: spans made in this process and spans that arrive go the same way.
"""

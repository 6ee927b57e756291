"""The conversations of `waxlocal demo --large`: what is said in them, by whom, and in which shape.

Nothing here records anything: `waxlocal.cli.large_demo` plays them.
"""

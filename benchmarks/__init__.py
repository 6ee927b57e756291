"""Programs that measure what waxlocal costs, each with its floor in the same run.

`python -m benchmarks.all` runs all of them; see docs/benchmarks.md.
"""

"""Runs that arrive from elsewhere: each merged into the file once, however often it comes."""

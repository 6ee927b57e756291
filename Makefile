# `make demo` and `make test` need Python 3.10 or later and nothing else: each sets up `.venv`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types check crash soak bench clean help

help:
	@echo "make demo    record made-up conversations, look at them, deliver them to a local server"
	@echo "             (SERVE=1 leaves the server and its dashboard running)"
	@echo "make test    lint, types, import rules and all tests"
	@echo "make lint    formatting, lint, import rules"
	@echo "make types   mypy --strict on the package and on its public API, for Linux, macOS and Windows"
	@echo "make check   the tests alone"
	@echo "make crash   the tests that kill processes, ten times as often; takes about half an hour"
	@echo "make soak    an hour of the server under load, and 200 kills of an upload"
	@echo "make bench   the figures of docs/benchmarks.md; takes about fifteen minutes"

demo: $(VENV)/installed
	@$(BIN)/waxlocal demo $(if $(SERVE),--serve)

test: lint types check

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || (cat $(VENV)/lint-imports.log; exit 1)

types: $(VENV)/installed-dev
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing examples
	for system in win32 darwin; do \
	  $(BIN)/mypy --platform $$system --no-warn-unreachable --cache-dir .mypy_cache/$$system || exit 1; \
	done

check: $(VENV)/installed-dev
	$(BIN)/pytest -n auto

crash: $(VENV)/installed-dev
	KILL_CYCLES=500 KILL_WRITERS=2000 CHECKPOINT_ROUNDS=10 CHECKPOINT_ROUND_S=7 \
	  $(BIN)/pytest tests/crash

soak: $(VENV)/installed-dev
	KILL_UPLOAD_CYCLES=200 $(BIN)/pytest tests/crash/test_kill_upload.py
	$(BIN)/python -m benchmarks.soak

bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks.all

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  (echo "Error: Python 3.10 or later is needed, $(PYTHON) is older." && \
	   echo "Try: make PYTHON=python3.12" && exit 1)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml | $(VENV)/python
	@echo "setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/python
	@echo "setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-bench: pyproject.toml | $(VENV)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

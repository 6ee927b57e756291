# `make demo` and `make test` need Python 3.10 or later and nothing else: each sets up `.venv`.

PYTHON ?= python3
# Of the tests: `auto` is two for each core (tests/conftest.py).
WORKERS ?= auto
# Tests start a thousand Pythons: without the compiled modules, each spends half a second on compiling.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
# All that tests share, and the check of the public API: everything but the tests themselves.
HELPERS = $(filter-out $(wildcard tests/test_*.py tests/*/test_*.py tests/*/*/test_*.py), \
  $(wildcard tests/*.py tests/*/*.py tests/*/*/*.py))

TYPES = types-here types-helpers types-win32 types-darwin
.PHONY: demo wheel test quick lint types $(TYPES) check coverage everywhere crash soak bench frameworks clean help

help:
	@echo "make demo    record sample conversations, query them, upload them to a local server"
	@echo "             (SERVE=1 leaves the server and its dashboard running)"
	@echo "make quick   lint, types, and the tests of what differs from main; less than 45 s"
	@echo "make test    lint, types, import rules and the tests (COVERAGE=1: and how much they run);"
	@echo "             WAXLOCAL_REQUIRE=all leaves nothing out, as in CI (see CONTRIBUTING.md)"
	@echo "make lint    formatting, lint, import rules"
	@echo "make types   mypy --strict on the package and on its public API, for Linux, macOS and Windows"
	@echo "make check   the tests alone"
	@echo "make coverage    the tests, and how much of the code they run"
	@echo "make everywhere  the tests on each Python that is here (see tests/everywhere.py)"
	@echo "make wheel   the demo from the built wheel, in a fresh environment"
	@echo "make crash   the tests that kill processes, far more often; takes about half an hour"
	@echo "make soak    an hour of the server under load, and 200 kills of an upload"
	@echo "make frameworks  the tests with LangChain, LangGraph, LlamaIndex, litellm, pydantic-ai, openai-agents,"
	@echo "             google-genai, Bedrock, MCP"
	@echo "make bench   the figures of docs/benchmarks.md; takes about fifteen minutes"

demo: $(VENV)/installed
	@$(BIN)/waxlocal demo $(if $(SERVE),--serve)

wheel: $(VENV)/installed-dev
	@BIN=$(BIN) PYTHON=$(PYTHON) sh tests/wheel.sh

test: lint types check

quick: lint
	$(BIN)/mypy
	$(BIN)/python -m tests.quick

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || (cat $(VENV)/lint-imports.log; exit 1)

# Two at a time: each takes a processor for many seconds, the first time.
types: $(VENV)/installed-dev
	@$(MAKE) --no-print-directory -j 2 $(TYPES)

types-here:
	$(BIN)/mypy

types-helpers:
	$(BIN)/mypy --explicit-package-bases --cache-dir .mypy_cache/tests examples $(HELPERS)

types-win32 types-darwin: types-%:
	$(BIN)/mypy --platform $* --no-warn-unreachable --no-warn-unused-ignores --cache-dir .mypy_cache/$*

check: $(VENV)/installed-dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

coverage:
	@$(MAKE) check COVERAGE=1

everywhere: $(VENV)/installed-dev
	$(BIN)/python -m tests.everywhere

crash: $(VENV)/installed-dev
	KILL_CYCLES=500 KILL_WRITERS=2000 CHECKPOINT_ROUNDS=10 CHECKPOINT_ROUND_S=7 \
	  $(BIN)/pytest --timeout 7200 tests/crash

soak: $(VENV)/installed-dev
	KILL_UPLOAD_CYCLES=200 $(BIN)/pytest --timeout 7200 tests/crash/test_kill_upload.py
	$(BIN)/python -m benchmarks.soak

# Files that are named are not left out, whatever is missing. The clients of these libraries leave
# their sockets to the garbage collector.
frameworks: $(VENV)/installed-frameworks
	$(BIN)/pytest -p no:unraisableexception tests/capture/test_frameworks_*.py

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

$(VENV)/installed-frameworks: tests/capture/frameworks.txt pyproject.toml | $(VENV)/python
	@echo "setting up $(VENV) ..."
	@# Most of what they bring is never imported: to compile it takes longer than to install it.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --requirement $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/installed-bench: pyproject.toml | $(VENV)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

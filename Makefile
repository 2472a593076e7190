# Everything runs from .venv, which the first target that needs it makes: a fresh clone needs Python 3.11+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
# Arguments for pytest, such as PYTEST="-k embedded --pg-version 16".
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs bench lock clean

help:  ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(READY)  ## Tell the whole story on embedded servers, in about a minute.
	$(BIN)/stepback demo

test: $(READY)  ## Run every test, on real servers.
	$(BIN)/pytest -n logical --dist worksteal $(PYTEST)

lint: $(READY)  ## Check style, types and the direction of imports.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## Make docs/statements.md anew from the code that reads plans.
	$(BIN)/python -m worker.plan.document > docs/statements.md

bench: $(READY)  ## Measure what the README quotes.
	$(BIN)/python -m benchmarks.blocking
	$(BIN)/python -m benchmarks.columns
	$(BIN)/python -m benchmarks.scanning
	$(BIN)/python -m benchmarks.doors

lock: $(READY)  ## Resolve requirements.lock anew from pyproject.toml.
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --quiet --custom-compile-command "make lock" --output-file requirements.lock

clean:  ## Remove what these targets made; the data folder .stepback stays.
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Cleared first, so that what is installed is the lock and nothing else.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one with PYTHON=")'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

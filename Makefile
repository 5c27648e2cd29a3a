# The only entry: `make` lists the targets. CI runs `make test` and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
MODEL ?=
PYTEST_ARGS ?=
WORKERS ?= 2
BENCH_ARGS ?=
BENCH_VENV ?= .venv-bench
export VENV
# The tests start hundreds of processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install install-runtime demo test check unit contract integration e2e model up down bench bench-executor bench-limits bench-guardrail bench-evolution lock clean

# Several processes run the tests, a file each at a time; see docs/decisions/0025-tests-side-by-side.md.
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

install:  ## prepare .venv with everything for development, and the `evoline` command
	@sh requirements/install.sh dev

install-runtime:
	@sh requirements/install.sh runtime

demo: install-runtime  ## the main job end to end on this machine (KEEP=1 leaves the stack running)
	@$(BIN)/evoline demo

model: install  ## download the local model's weights, once
	@$(BIN)/evoline model pull $(MODEL)

test: install model check  ## everything: check, unit, contract, integration, end to end (WORKERS=2 side by side)
	@$(BIN)/python -m pytest tests $(SIDE_BY_SIDE) --durations=20 $(PYTEST_ARGS)

check: install  ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: install  ## fast tests, no servers
	@$(BIN)/python -m pytest tests/unit $(SIDE_BY_SIDE) $(PYTEST_ARGS)

contract: install  ## fakes against the real thing, message schemas
	@$(BIN)/python -m pytest tests/contract $(SIDE_BY_SIDE) $(PYTEST_ARGS)

integration: install model  ## tests on real servers
	@$(BIN)/python -m pytest tests/integration $(SIDE_BY_SIDE) $(PYTEST_ARGS)

e2e: install model  ## the whole stack
	@$(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS)

up: install-runtime  ## start the local stack in the background
	@$(BIN)/evoline up

down: install-runtime  ## stop it; the data stay
	@$(BIN)/evoline down

bench: install model bench-executor bench-limits bench-guardrail bench-evolution  ## measure latency, throughput, memory; writes bench/results
	@$(BIN)/python -m bench.main_job.requests
	@$(BIN)/python -m bench.evolution.false_alarms

bench-executor: install  ## the executor beside DBOS, LangGraph and Temporal, 15 minutes; BENCH_ARGS=--quick to try
	@VENV=$(BENCH_VENV) sh requirements/install.sh bench || echo "bench-executor: going on without the peers" >&2
	@$(BIN)/python -m bench.executor --peers-env $(BENCH_VENV) $(BENCH_ARGS)

bench-limits: install  ## limits of providers that executors share: overshoot, utilisation, waits beside a flood
	@$(BIN)/python -m bench.limits

bench-guardrail: install  ## decisions (and what of them is the store), rollback under load, outages, 25 minutes
	@$(BIN)/python -m bench.guardrail.decisions $(BENCH_ARGS)
	@$(BIN)/python -m bench.guardrail.rollback 50
	@$(BIN)/python -m bench.guardrail.outage stopped 10000
	@$(BIN)/python -m bench.guardrail.outage dead 10000

SEARCH_PEERS = gepa openevolve dspy
bench-evolution: install  ## evolution beside gepa, openevolve, dspy: honesty, gain, calls, exploits, 2 hours; BENCH_ARGS=--quick to try
	@for peer in $(SEARCH_PEERS); do VENV=$(BENCH_VENV)-$$peer sh requirements/install.sh bench-$$peer \
		|| echo "bench-evolution: going on without $$peer" >&2; done
	@$(BIN)/python -m bench.evolution $(BENCH_ARGS)

LOCK = UV_NO_CONFIG=1 $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
lock: install  ## regenerate the lock files from pyproject.toml
	@$(LOCK) pyproject.toml --extra local --extra plots -o requirements/runtime.lock
	@$(LOCK) pyproject.toml --extra local --extra plots --extra dev -c requirements/runtime.lock -o requirements/dev.lock
	@$(LOCK) requirements/bench.in -o requirements/bench.lock
	@for peer in $(SEARCH_PEERS); do $(LOCK) requirements/bench-$$peer.in -o requirements/bench-$$peer.lock; done

clean:  ## remove the environment and caches (not .evoline, which holds data)
	rm -rf $(VENV) $(BENCH_VENV) $(BENCH_VENV)-* .bench build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

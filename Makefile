# The whole house in a few verbs. `make` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stepwise-installed

# What may be added on the command line:
PIP_ARGS   ?=#   pip arguments, such as --extra-index-url URL
DEMO_ARGS  ?=#   arguments of the demo, such as --smoke
SERVER     ?= lite
UP_ARGS    ?=#   arguments of `stepwise server start`, such as --port 8009
BENCH_ARGS ?=#   arguments of the benchmarks
TOX_ARGS   ?=#   arguments of tox, such as -e lint

export PYTHON MAKECMDGOALS

.DEFAULT_GOAL := help
.PHONY: help venv demo up down test lint format types bench bench-page bench-server bench-track wheels clean distclean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## create .venv with everything pinned (PYTHON=python3.11, PIP_ARGS=…)

$(STAMP): constraints.txt ci/agent-requirements.txt pyproject.toml ci/make_venv.sh $(wildcard packages/*/pyproject.toml)
	@ci/make_venv.sh $(STAMP) $(PIP_ARGS)

demo: $(STAMP) ## start a server, train the date transformer against it, show what it learned (DEMO_ARGS=--smoke: small)
	@$(BIN)/python ci/demo.py $(DEMO_ARGS)

up: $(STAMP) ## start the ClearML server of this machine (SERVER=lite: one process; UP_ARGS=…)
	@$(BIN)/python ci/up.py $(SERVER) $(UP_ARGS)

down: $(STAMP) ## stop it; its data stays
	@$(BIN)/stepwise server stop

test: $(STAMP) ## run all tests, style, types and wheel checks through tox (TOX_ARGS=-e lint: one of them)
	@$(BIN)/tox run $(TOX_ARGS)

lint: $(STAMP) ## check style and format
	@$(BIN)/tox run -e lint

format: $(STAMP) ## put imports and format right, in place
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

types: $(STAMP) ## check types
	@$(BIN)/tox run -e types

bench: $(STAMP) ## run the side-by-side benchmarks (BENCH_ARGS=…)
	@$(BIN)/python bench/run.py $(BENCH_ARGS)

bench-page: $(STAMP) ## measure the page in Chromium: first chart, table of 10 000 runs, bytes
	@$(BIN)/python bench/server/page.py $(BENCH_ARGS)

bench-server: $(STAMP) ## measure the server: start, memory, ingestion, charts, tables, files
	@$(BIN)/python bench/server/run.py $(BENCH_ARGS)

bench-track: $(STAMP) ## measure what logging costs, beside the trackers' own SDKs
	@$(BIN)/python bench/track.py $(BENCH_ARGS)

wheels: $(STAMP) ## build the wheels of the four packages into dist/
	@$(BIN)/python ci/build_wheels.py dist

clean: ## remove caches and build results; never runs/
	rm -rf .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find packages ci bench -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well; never runs/
	rm -rf $(VENV)

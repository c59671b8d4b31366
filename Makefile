# Two commands matter: `make run` opens the studio, `make test` checks it. Both do all the set-up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PROCESSES ?= 2
CODE := app.py pages finetune_core benchmarks assets tests

.PHONY: run test test-all quick check screenshots format setup clean

run: $(VENV)/.installed
	@$(BIN)/python -m finetune_core studio

# What every change must pass.
test: check
	$(BIN)/python -m pytest -n $(PROCESSES) -m "not slow"

# The same claims on every family, real photos and more screens, too: before a release (docs/decisions/0035).
test-all: check
	$(BIN)/python -m pytest -n $(PROCESSES)

quick: check
	$(BIN)/python -m pytest -n $(PROCESSES) -m "not slow and not e2e"

# Format, lint, types, import layers.
check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

# A picture of every screen and state, wide and narrow, light and dark; some minutes.
screenshots: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/e2e/test_every_screen.py -k pictures --timeout 1800 --screenshots screenshots

format: $(VENV)/.installed-dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

setup: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Thaw needs Python 3.11 or newer; $(PYTHON) is older." >&2; echo "Say which one to use: make run PYTHON=python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV): about 6 GB, a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# make train, make test: everything else follows. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install train test coverage soak chromium test-lowest bench bench-gpu lint format docs pictures clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## make .venv and install segkit with its pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "segkit needs Python 3.11 or newer; got " + sys.version.split()[0] + ". Say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: install  ## train a U-Net on the built-in pictures (3 minutes on 2 cores)
	$(BIN)/python -m segkit.train

test: install  ## run the tests; fast=1 leaves out those that start commands or trainings
	$(BIN)/python -m pytest -n auto $(if $(fast),-m "not slow") $(if $(coverage),--cov --cov-report=term)

coverage:  ## run the tests, and say which lines they do not reach; fails below the share in pyproject.toml
	$(MAKE) test coverage=1

soak: install  ## change run folders at random for an hour, or seconds=60: see docs/explanation/security.md
	SEGKIT_SOAK=$(or $(seconds),3600) $(BIN)/python -m pytest tests/test_fuzz.py

chromium:  ## install the browser in which the report's page is tested (Debian, Ubuntu; as root)
	command -v chromium > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

test-lowest:  ## run them with the oldest versions of the dependencies that are allowed
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[dev]'
	$(VENV)-lowest/bin/python -m pytest -n auto

bench: install  ## run the benchmarks, or some: make bench only=gate
	$(BIN)/python benchmarks/run.py $(only)

bench-gpu: install  ## measure training, inference and memory on a GPU
	$(BIN)/python benchmarks/run.py --gpu $(only)

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## have ruff fix and format what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs  ## build the docs as a site in build/site
	$(BIN)/python docs/write_pages.py build
	$(BIN)/zensical build --clean --strict -f build/zensical.toml
	@echo "open build/site/index.html"

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

pictures: install  ## make the README's pictures from drawn data (needs make chromium)
	$(BIN)/python docs/draw_pictures.py

clean:  ## remove .venv and caches; runs in outputs/ stay
	rm -rf $(VENV) $(VENV)-lowest .pytest_cache .mypy_cache .ruff_cache .coverage build dist

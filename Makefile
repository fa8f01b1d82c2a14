# make train, make test: everything else follows. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install train test chromium test-lowest bench lint clean

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

test: install  ## run the tests
	$(BIN)/python -m pytest -n auto

chromium:  ## install the browser in which the report's page is tested (Debian, Ubuntu; as root)
	command -v chromium > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

test-lowest:  ## run them with the oldest versions of the dependencies that are allowed
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[dev]'
	$(VENV)-lowest/bin/python -m pytest -n auto

bench: install  ## run the benchmarks, or some: make bench only=gate
	$(BIN)/python benchmarks/run.py $(only)

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove .venv and caches; runs in outputs/ stay
	rm -rf $(VENV) $(VENV)-lowest .pytest_cache .mypy_cache .ruff_cache build dist

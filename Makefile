# alphaloop: everything is made and used inside .venv of this checkout.
# `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The CPU build of torch; a looser range brings gigabytes of CUDA libraries.
TORCH := torch==2.13.0
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
EVIDENCE := docs/evidence
ARGS ?=
CASES ?= ../shared/cases
REVISION ?= 42f5a7d
# One more than there are cores: a test that waits for its child leaves a core to another one.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

# A child started in a folder that holds a `models/` of its own must not import that one.
export PYTHONSAFEPATH := 1
# One thread a process: on two cores a second one slows every other part of the loop.
export OMP_NUM_THREADS ?= 1
# Where it is set, each of the hundreds of children of the tests compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test coverage test-long release-check cases mended mutants docs docs-check lint bench bench-long constraints clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv and install everything into it, once

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = sys.version_info[:2] == (3, 11); sys.exit(0 if ok else "alphaloop needs Python 3.11 and this is " + sys.version.split()[0] + "; install python3.11 with venv, or say PYTHON=/path/to/python3.11")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): about three minutes and 3 GB, once"
	@$(PIP) install --quiet -c constraints.txt $(TORCH)
	@$(PIP) install --quiet -c constraints.txt -e '.[all]'
	@touch $@

demo: $(STAMP)  ## run the whole loop on real market data; leaves runs/demo/latest/report.html
	@$(BIN)/alphaloop demo $(ARGS)

test: $(STAMP)  ## tests on all cores (9 minutes on two quiet ones); those of the tree's shape are part of lint
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/architecture $(ARGS)

coverage: $(STAMP)  ## the tests with branch coverage of the packages, which takes half as long again
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term $(ARGS)

test-long: $(STAMP)  ## tests that take minutes; the output is kept in docs/evidence/test-long.txt
	@mkdir -p $(EVIDENCE)
	@{ echo '$$ make test-long'; date -u '+%Y-%m-%dT%H:%M:%SZ'; git describe --always --dirty || true; } > $(EVIDENCE)/test-long.txt
	@$(BIN)/python -m pytest -m long -v $(ARGS) 2>&1 | sed -u 's#$(CURDIR)#.#g' | tee -a $(EVIDENCE)/test-long.txt

release-check: $(STAMP)  ## what a release promises, line by line; kept in docs/evidence/release-check.txt (hours)
	@mkdir -p $(EVIDENCE)
	@echo '$$ make release-check $(if $(ARGS),ARGS="$(ARGS)")' > $(EVIDENCE)/release-check.txt
	@$(BIN)/python -P tests/release_check.py $(ARGS) 2>&1 | sed -u 's#$(CURDIR)#.#g' | tee -a $(EVIDENCE)/release-check.txt

cases: $(STAMP)  ## small cases with known answers, from CASES=FOLDER; the table is kept in docs/evidence/cases.txt
	@mkdir -p $(EVIDENCE)
	@{ echo '$$ make cases'; date -u '+%Y-%m-%dT%H:%M:%SZ'; git describe --always --dirty || true; } > $(EVIDENCE)/cases.new
	@$(BIN)/python tests/run_cases.py $(CASES) $(ARGS) 2>&1 | sed -u 's#$(CURDIR)#.#g' | tee -a $(EVIDENCE)/cases.new; \
	  status=$${PIPESTATUS[0]}; \
	  if grep -q '^skipped: ' $(EVIDENCE)/cases.new; then rm $(EVIDENCE)/cases.new; else mv $(EVIDENCE)/cases.new $(EVIDENCE)/cases.txt; fi; \
	  exit $$status

mended: $(STAMP)  ## show that the tests of mended faults fail on the code of REVISION; kept in docs/evidence/mended.txt
	@mkdir -p $(EVIDENCE)
	@{ echo '$$ make mended REVISION=$(REVISION)'; date -u '+%Y-%m-%dT%H:%M:%SZ'; git describe --always --dirty || true; } > $(EVIDENCE)/mended.txt
	@$(BIN)/python tests/mended.py $(REVISION) 2>&1 | tee -a $(EVIDENCE)/mended.txt

mutants: $(STAMP)  ## change the code that decides bit by bit; what no test notices is kept in docs/evidence/mutants.txt (hours)
	@$(PIP) install --quiet 'mutmut>=3.8'
	@$(BIN)/mutmut run $(ARGS) || true
	@{ echo '$$ make mutants $(if $(ARGS),ARGS="$(ARGS)")'; date -u '+%Y-%m-%dT%H:%M:%SZ'; git describe --always --dirty || true; \
	   $(BIN)/mutmut results; } > $(EVIDENCE)/mutants.txt

docs: $(STAMP)  ## the documents as a site in build/docs; needs no network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo build/docs/index.html

docs-check: $(STAMP)  ## shapes, units and errors in the docstrings of 60 public functions, drawn with a seed
	@$(BIN)/python -P tests/docs_check.py $(ARGS)

lint: $(STAMP)  ## ruff, mypy, import contracts, sole importers, the site of the documents
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/architecture

bench-long: $(STAMP)  ## what a bar costs after years, and a drift check of two years of log
	$(BIN)/python benchmarks/long_running.py

bench: $(STAMP)  ## benchmarks against floors and peers; the output is kept in docs/evidence/bench.txt
	@mkdir -p $(EVIDENCE)
	@{ echo '$$ make bench'; date -u '+%Y-%m-%dT%H:%M:%SZ'; git describe --always --dirty || true; echo "$$(nproc) cores"; } > $(EVIDENCE)/bench.txt
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python "$$file" $(ARGS) 2>&1; done | sed -u 's#$(CURDIR)#.#g' | tee -a $(EVIDENCE)/bench.txt

constraints: $(STAMP)  ## pin every version anew in constraints.txt
	@$(PIP) install --quiet uv
	@{ sed '/^[^#]/,$$d' constraints.txt; \
	   $(BIN)/uv pip compile --quiet --no-header --no-annotate --extra all pyproject.toml \
	     | grep -v -E '^(nvidia-|cuda-|triton==)'; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove .venv, caches and runs
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage*

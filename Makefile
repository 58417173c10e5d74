# The verbs of the project. `make run` and `make test` need Python 3.11 or later, git and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run demo test lint types bench faults sim seeds prior train-demo pictures reference structure wheel clean

run: $(VENV)/.app            ## start the dashboard
	$(BIN)/tui-router

demo: $(VENV)/.app           ## start it on six pretend models
	$(BIN)/tui-router --demo

test: $(VENV)/.test          ## all tests: side by side, then those that look at a screen, which want the machine for themselves
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --ignore=tests/ui --ignore=tests/e2e
	$(BIN)/python -m pytest -q tests/ui tests/e2e

lint: $(VENV)/.test          ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test         ## strict types
	$(BIN)/mypy

bench: $(VENV)/.test         ## speed and memory, beside the peers, on this machine
	$(BIN)/python -m benchmarks

faults: $(VENV)/.test        ## kill -9 on writers and trainings, 10,000 interleavings, 20,000 generated replies of servers
	$(BIN)/python -m tests.store.kills --kills 500
	$(BIN)/python -m tests.training.kills --kills 20
	INTERLEAVINGS=10000 $(BIN)/python -m pytest -q --timeout 3600 tests/app/test_interleavings.py
	$(BIN)/python -m tests.backends.campaign --n 20000

sim: $(VENV)/.test           ## learning, months of one person, drift and the gate, simulated (minutes each)
	$(BIN)/python scripts/sim.py
	$(BIN)/python scripts/sim_month.py
	$(BIN)/python scripts/sim_drift.py
	$(BIN)/python scripts/sim_gate.py

seeds: $(VENV)/.test         ## report on the seeds: balance, duplicates, overlap with the sets
	$(BIN)/python train/seeds.py

prior: $(VENV)/.test         ## fit the learned router to the seeds again
	$(BIN)/python train/prior.py

train-demo: $(VENV)/.train   ## train two tiny routers for real: one is refused, one is promoted (ten minutes)
	$(BIN)/python scripts/train_demo.py

pictures: $(VENV)/.test      ## draw the screens of docs/pictures
	$(BIN)/python scripts/pictures.py

reference: $(VENV)/.test     ## write docs/reference from the code: settings, command line, store
	$(BIN)/python scripts/reference.py

structure: $(VENV)/.test     ## rooms, floors, arrows and circles of the package
	$(BIN)/python scripts/structure.py --rooms

wheel: $(VENV)/.test         ## wheel and sdist into dist/
	$(BIN)/python -m build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt train/unsloth.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test-train]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r train/unsloth.txt
	touch $@ $(VENV)/.app $(VENV)/.train

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	touch $@ $(VENV)/.app

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache

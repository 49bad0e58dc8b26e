# Every target sets up its own environment in .venv: a clean clone needs Python 3.10 or 3.11 and make, nothing else.
# PYTHON=python3.11 make test picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LEROBOT := .venv-lerobot
LEROBOT_STAMP := $(LEROBOT)/.installed
MINARI := .venv-minari
MINARI_STAMP := $(MINARI)/.installed
ROBOMIMIC := .venv-robomimic
ROBOMIMIC_STAMP := $(ROBOMIMIC)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
PYTEST_ARGS ?= -n 2 --dist worksteal
BENCH_ARGS ?=
DEMO_ARGS ?=
STORE ?= out/lerobot/store

# One thread a process: two workers with as many threads as cores are slower than with one each.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help venv demo test test-slow lint format bench results docs lerobot minari robomimic clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt $(wildcard setup.py envs/*.c)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v[:2] <= (3, 11) else f"Python {v[0]}.{v[1]}: PyBullet has wheels for 3.10 and 3.11; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

venv: $(STAMP)  ## Set up .venv with every extra

demo: $(STAMP)  ## Push the G1 about, record, replay and export 20 episodes, write one HTML page
	$(BIN)/tg demo $(DEMO_ARGS)

test: $(STAMP)  ## Run the tests, a few minutes
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-slow: $(STAMP)  ## Run the tests that take longer
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(STAMP)  ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright -p .typing

format: $(STAMP)  ## Put every file into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH_STAMP)  ## Measure everything that README's table claims; JSON in out/bench.json
	$(BIN)/tg bench --out out/bench.json $(BENCH_ARGS)

results: $(STAMP)  ## Write docs/results.md from the evaluation files
	$(BIN)/python docs/_results.py

docs: $(STAMP)  ## Build the documentation site into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# LeRobot's own pins (an older PyTorch, CUDA) have no place in .venv.
LEROBOT_PIP := $(LEROBOT)/bin/python -m pip install --quiet --disable-pip-version-check -c tests/external/lerobot-constraints.txt
$(LEROBOT_STAMP): tests/external/lerobot-requirements.txt tests/external/lerobot-constraints.txt
	test -x $(LEROBOT)/bin/python || $(PYTHON) -m venv $(LEROBOT)
	$(LEROBOT_PIP) -r tests/external/lerobot-requirements.txt
	$(LEROBOT_PIP) --no-deps lerobot torchvision lerobot-doctor
	@touch $@

lerobot: $(STAMP) $(LEROBOT_STAMP)  ## Open an export of STORE with the real LeRobot and compare every number
	test -d $(STORE) || $(BIN)/tg record TrainingGround/Stand-v0 --robot g1 --policy random --episodes 3 --out $(STORE)
	rm -rf out/lerobot/export
	$(BIN)/tg data export $(STORE) out/lerobot/export --format lerobot
	$(LEROBOT)/bin/python -W ignore tests/external/lerobot_check.py $(STORE) out/lerobot/export
	$(LEROBOT)/bin/lerobot-doctor check --ci --fail-on fail out/lerobot/export >out/lerobot/doctor.txt || { cat out/lerobot/doctor.txt; exit 1; }

MINARI_PIP := $(MINARI)/bin/python -m pip install --quiet --disable-pip-version-check -c tests/external/minari-constraints.txt
$(MINARI_STAMP): tests/external/minari-requirements.txt tests/external/minari-constraints.txt
	test -x $(MINARI)/bin/python || $(PYTHON) -m venv $(MINARI)
	$(MINARI_PIP) -r tests/external/minari-requirements.txt
	@touch $@

minari: $(STAMP) $(MINARI_STAMP)  ## Open an export of STORE with the real Minari, import what it collects, compare every number
	test -d $(STORE) || $(BIN)/tg record TrainingGround/Stand-v0 --robot g1 --policy random --episodes 3 --out $(STORE)
	rm -rf out/minari
	$(BIN)/tg data export $(STORE) out/minari/root/stand-v0 --format minari
	$(MINARI)/bin/python -W ignore tests/external/minari_check.py export $(STORE) out/minari/root/stand-v0
	$(MINARI)/bin/python -W ignore tests/external/minari_check.py collect out/minari/made
	for name in cartpole nested; do $(BIN)/tg data import out/minari/made/made/$$name-v0 out/minari/stores/$$name-v0 --format minari || exit 1; done
	$(MINARI)/bin/python -W ignore tests/external/minari_check.py imported out/minari/made out/minari/stores

ROBOMIMIC_PIP := $(ROBOMIMIC)/bin/python -m pip install --quiet --disable-pip-version-check -c tests/external/robomimic-constraints.txt
$(ROBOMIMIC_STAMP): tests/external/robomimic-requirements.txt tests/external/robomimic-constraints.txt
	test -x $(ROBOMIMIC)/bin/python || $(PYTHON) -m venv $(ROBOMIMIC)
	$(ROBOMIMIC_PIP) -r tests/external/robomimic-requirements.txt
	$(ROBOMIMIC_PIP) --no-deps robomimic
	@touch $@

robomimic: $(STAMP) $(ROBOMIMIC_STAMP)  ## Open an export of STORE with the real robomimic and compare every number
	test -d $(STORE) || $(BIN)/tg record TrainingGround/Stand-v0 --robot g1 --policy random --episodes 3 --out $(STORE)
	rm -rf out/robomimic
	$(BIN)/tg data export $(STORE) out/robomimic/export --format robomimic
	$(ROBOMIMIC)/bin/python -W ignore tests/external/robomimic_check.py $(STORE) out/robomimic/export

clean:  ## Remove what the targets above made, .venv excepted
	rm -rf build dist out runs docs/_build docs/generated *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

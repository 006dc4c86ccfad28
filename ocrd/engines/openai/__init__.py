"""The openai engine: pages are read by servers that speak OpenAI's protocol, such as `vllm serve`.

`engine` is what the daemon sees. `pool` holds the pages that wait and decides which server reads which, by what is
known of each (`endpoint`) and of each page (`visit`); `limiter` says how many pages a server gets at the same time.
`client` speaks to one server, and translates whatever goes wrong into `faults`; `requests` makes a page into a request,
`answers` reads what comes back, and `prover` finds out whether a server is one that reads.
"""

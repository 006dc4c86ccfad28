"""The commands a person runs once: check, convert, rerun, retry, review, status, help, installing the service.

In: the configuration and what the command line asked for. Out: text on the terminal, files that a person asked for,
and a configuration error or a machine's fault as an exception; only `cli` ends the process. May import everything but
`cli` and `daemon`.
"""

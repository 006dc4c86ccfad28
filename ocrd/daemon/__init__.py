"""The long-running service.

`supervisor` starts and ends it, `watch_runner` looks after one inbox, `admission` claims what has settled, `job_queue`
runs what was claimed, `reload` goes over to another configuration, `health` tells how it stands.

In: a checked configuration and an engine. Out: events, status, heartbeat; the work itself is the pipeline's.
May import everything but `cli` and `commands`.
"""

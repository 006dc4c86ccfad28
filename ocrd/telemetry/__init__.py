"""What the owner is told: events, log lines, the status, metrics, systemd's notifications.

In: events from daemon and pipeline. Out: journald, a terminal, the status file, `/metrics`. Nothing here decides
anything. May import storage, config and what lies below.
"""

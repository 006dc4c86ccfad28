"""One document from its claim to the archive; one page from its image to a verdict. Read `job_runner` first.

In: a job in its folder, the watch that it belongs to, the tools that all share. Out: an outcome, and files published.
May import engines, rendering, storage, output, quality, concurrency, config and what lies below; not intake or
telemetry.
"""

"""Readings as people and programs read them: Markdown, JSON, text, HTML; front matter, tables, what is safe to show.

In: a `Document` or one `PageResult`. Out: text; nothing here touches a disk. `kinds` is the registry of what a watch
can deliver: the configuration, the pipeline, reruns and storage ask there. May import model, errors and display.
"""

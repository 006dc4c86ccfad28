"""Sources drawn as page images, with the facts of each page, in limited worker processes.

A dropped file is hostile, and is opened nowhere else.

In: a path and a page number. Out: `PageImage`, figures, searchable PDFs. `renderer` is the face to the event loop,
`tasks` what the workers run. May import storage, output, quality,
concurrency and what lies below.
"""

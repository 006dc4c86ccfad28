"""Worker processes and the memory shared with them, the window of pages in flight, steps beside the event loop.

It knows nothing of documents. May import errors only.
"""

"""The embedded engine, for a machine without a GPU: one library reads the letters, another makes Markdown of them.

In a worker process, page by page: Tesseract (or RapidOCR) reads the words, and says where they stand. On a page of
plain text that tells paragraphs and headings, too (`plain_layout`). Of any other page the picture goes on to a second
process. There the words are laid, invisible, over it, and in that the layout model of pymupdf4llm finds headings,
paragraphs, lists and tables. Every word that was read comes back, whatever the layout makes of it.

`engine` is what the daemon sees; `steps` run in the workers.
"""

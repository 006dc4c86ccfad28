"""What engines write around the words: layout tags, special tokens, formulas, HTML; and the dialects of models.

In: an engine's answer in the dialect of its model, which `dialects.normalise` makes the text of a `Reading`. Out:
`layout_blocks.Block`s, and formulas one by one. Pure. May import `model` and what lies below.
"""

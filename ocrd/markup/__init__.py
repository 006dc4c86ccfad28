"""What engines write around the words: layout tags, special tokens, formulas. Found here, for verdicts and outputs.

In: the text of a `Reading`. Out: `layout_blocks.Block`s, and formulas one by one. Pure. May import `model` and what
lies below.
"""

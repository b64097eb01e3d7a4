"""The blocks of a transformer, in the order of "Attention Is All You Need" (Vaswani et al., 2017), section 3.

Shapes in comments: B batch, S source length, T target length, Q queries, K keys, L any length, H heads,
G key/value heads, D d_model, d width of one head, F inner width of the feed-forward, V vocabulary.
"""

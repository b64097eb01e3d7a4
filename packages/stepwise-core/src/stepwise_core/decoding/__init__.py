"""Decoding: the next-token scorer, greedy and beam search, and text-to-text translation on top of them."""

"""Data: where examples come from (`dataset`, `sources`), how text becomes ids, how ids become batches.

`dataset`, `tokenizers`, `encoding` and `plan` do without torch, so that `stepwise data` answers at once; only
`batches` imports it. For that reason this file imports nothing.
"""

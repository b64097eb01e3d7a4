"""The queries of `get_all` and its relatives, compiled to SQL.

filters.py      parameters -> one condition                       <- start here
operators.py    `["__$all", "a", "__$not", "b"]`, and `filters`
comparisons.py  ranges, dates, equality
patterns.py     regular expressions, `_any_`, `_all_`, `search_text`
ordering.py     `order_by`
selection.py    condition, order and window -> ids
documents.py    ids -> documents, with references expanded
projection.py   `only_fields`
fields.py       which fields there are, and the SQL that reads them
paths.py        dotted paths with escapes
clauses.py      pieces of SQL with their values
"""

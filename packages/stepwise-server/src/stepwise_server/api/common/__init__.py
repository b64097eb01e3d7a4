"""What several services have in common.

fields.py   names, references, labels, dates, free-form values: checked
stamps.py   who changed something last, and when
many.py     one call for many entities; their tags and the archive
moving.py   from one project to another
files.py    files that nobody refers to any more
times.py    the span of time that a report is asked for
"""

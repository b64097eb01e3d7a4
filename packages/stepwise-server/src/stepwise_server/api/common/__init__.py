"""What tasks and models have in common.

fields.py   names, tags, references, free-form values: checked
stamps.py   who changed something last, and when
many.py     one call for many entities; tags, archive and place of many
"""

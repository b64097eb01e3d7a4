"""The projects service; queries of projects are in `api/queries.py`.

tree.py      find_or_create for other services; create, update, move, merge
deletion.py  validate_delete, delete
catalog.py   what the tasks and models of projects have: metrics, parameters, metadata, tags, parents, users
"""

"""The projects service; queries of projects are in `api/queries.py`.

tree.py      create, update, move, merge
deletion.py  validate_delete, delete
listing.py   get_all, get_all_ex with what only projects have
stats.py     sums over the tasks of projects
catalog.py   what the tasks and models of projects have: metrics, parameters, metadata, tags, parents, users
"""

"""The projects service; queries of projects are in `api/queries.py`.

tree.py      create, update, move, merge
deletion.py  validate_delete, delete
listing.py   get_all, get_all_ex with what only projects have
stats.py     sums over the tasks of projects
catalog.py   metrics, parameters, metadata, parents and owners of the tasks and models of projects
tags.py      the tags in use
"""

"""The models service: everything that changes models. Queries are in `api/queries.py`.

fields.py      what may be written into a model, checked
readiness.py   "ready" is what the API calls a published model
edit.py metadata.py publishing.py deletion.py
legacy.py      what clients older than API 2.14 call
"""

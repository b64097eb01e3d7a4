"""The tasks service: everything that changes tasks. Queries are in `api/queries.py`.

fields.py         what may be written, checked; how it joins what is there   <- create, edit, clone
transitions.py    the status machine
create.py edit.py clone.py status.py queueing.py reset.py deletion.py
hyperparams.py configuration.py artifacts.py models.py
many.py           one call for many tasks
"""

"""The tasks service: everything that changes tasks. Queries are in `api/queries.py`.

fields.py         what may be written, checked; how it joins what is there
transitions.py    the status machine
steps.py          the steps of a pipeline's run
create.py edit.py hyperparams.py configuration.py artifacts.py clone.py    what a task is
status.py publishing.py queueing.py reset.py deletion.py                   what becomes of it
many.py           one call for many tasks
"""

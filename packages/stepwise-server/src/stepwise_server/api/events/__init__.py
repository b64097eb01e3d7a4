"""events.*: what tasks and models report, and what pages and scripts read of it.

decode.py     lines of JSON into a `Batch` (batch.py) of points, console lines and others, outside the writing thread
ingest.py     add_batch, add: into the database, and the effects on task and model
scalars.py    charts, raw points, single values
logs.py       the console
listing.py    get_task_events: everything, page by page
plots.py      plots; images.py: debug images by iteration; samples.py: one of them in full size
lists.py      which metrics and variants there are
deletion.py   away with them
requests.py   what the queries have in common
"""

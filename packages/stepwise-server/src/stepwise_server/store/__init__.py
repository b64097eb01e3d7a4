"""What is kept: one SQLite database. Entities are documents with columns; scalars are narrow rows.

database.py   one writing thread with group commit, reading connections   <- everything goes through it
schema.py     the tables, and how older ones become newer ones
entities.py   tasks, models, projects, queues, users: documents in and out
projects.py   the tree of projects
query/        filters, order, pages, projection of `get_all` and its relatives
"""

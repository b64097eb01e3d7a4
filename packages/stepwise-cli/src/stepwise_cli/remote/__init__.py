"""Runs on other machines: the settings of a task, the process that an agent starts, tasks cloned and queued from here.

connection.py   calls to the ClearML server, whose failures are one line and an exit code
settings.py     hyperparameters of a task <-> settings of a run
agent.py        this process as an agent's: its task's settings, and stopping when it is told to
tasks.py        tasks as a person handles them: found, cloned, queued, waited for
"""

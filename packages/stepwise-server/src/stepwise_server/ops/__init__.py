"""What the person who runs a server does with it; `stepwise server` has a command for each.

folder.py    the data folder: where it is, its lock, who serves it
clients.py   what clients have to be told: clearml.conf, client.env
launch.py    start, in this process or detached, for good or until the end of a CI job
control.py   stop, status
access.py    access keys and users, while the server runs or not
backup.py    everything in one file, while the server runs
restore.py   and back
compact.py   give space back
"""

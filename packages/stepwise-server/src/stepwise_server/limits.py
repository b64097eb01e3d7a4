"""Every limit and time-out of the server, in one place."""

BODY_BYTES = 1 << 30
"""Largest API request. Clients send batches of at most 15 MiB, but one plot may be larger."""

PAGE_ROWS = 500
"""Default and largest page of a query: clients take a page of this size for a sign that more follows."""

NAME_CHARACTERS = 3
"""Shortest name of a task, model, project or queue, after trimming."""

PROJECT_DEPTH = 10
"""Deepest project path."""

SCROLL_SECONDS = 600.0
"""How long a scroll position is kept after its last use."""

METRICS_PER_TASK = 2000
"""Metric and variant pairs of a task that appear in `last_metrics`; the points of further ones are kept too."""

WORKER_SECONDS = 600
"""A worker that has not reported for this long is gone, unless it asked for another time."""

WORKER_SEEN_SECONDS = 3600
"""How long ago a worker may have reported to be listed, unless the caller asks for another time."""

WORKER_DEVICES = 256
"""Cores or GPUs of a worker whose figures are kept one by one."""

STATS_SECONDS = 7 * 24 * 3600
"""How long figures of workers and queues are kept: 300 000 rows for a worker that reports each 30 seconds."""

STATS_POINTS = 10_000
"""Most intervals that a report of activity may have."""

WATCHDOG_TASK_SECONDS = 7200.0
"""A running task that has not reported for this long is stopped."""

WATCHDOG_GRACE_S = 900.0
"""How long a server that started or woke listens before it takes silence for death: clients try again in minutes."""

WATCHDOG_TICK_S = 15.0
"""Seconds between two looks for silent tasks, workers that are gone and queues that wait."""

WATCHDOG_PRUNE_S = 3600.0
"""Seconds between two removals of old figures."""

LIVE_SECONDS = 45.0
"""A run that gave a sign of life this recently is live: clients ping each 30 seconds."""

PULSE_SECONDS = 10.0
"""A run whose process asks for its own status each two seconds has stalled when it has not for this long."""

DEAD_SECONDS = 120.0
"""A run without a sign of life for this long is dead: four pings in a row did not come."""

PULSES = 10_000
"""Runs whose pulse is kept in memory."""

TOKEN_SECONDS = 30 * 24 * 3600
"""Lifetime of a token for which no other was asked."""

TOKEN_SECONDS_MAX = 365 * 24 * 3600
"""Longest lifetime that can be asked for."""

TOKENS_KNOWN = 10_000
"""Tokens that are remembered as valid."""

TOKEN_TRUST_S = 1.0
"""For how long one is, before the database is looked at again: the command line may have revoked it."""

FAILED_LOGINS = 10
"""Failed logins with one name from one address after which further ones have to wait."""

FAILED_LOGIN_SECONDS = 60.0
"""For how long a failed login counts."""

FAILED_LOGIN_NAMES = 10_000
"""Names for which failures are counted at a time."""

PREFERENCES_BYTES = 1 << 20
"""Most that a user's preferences may hold."""

GROUP_COMMIT_CALLS = 256
"""Most calls that share one transaction, and so one wait for the disk."""

BUSY_TIMEOUT_S = 30.0
"""How long a connection waits for another process's lock, such as that of `stepwise server compact`."""

REGEX_CHARACTERS = 4096
"""Longest regular expression in a query."""

REGEX_SECONDS = 0.5
"""How long one text may be searched for a client's regular expression."""

QUERY_SECONDS = 30.0
"""A query that reads for longer is given up, so that no pattern or filter can occupy the server."""

COPY_BYTES = 1 << 20
"""Bytes that are copied at a time."""

REMOTE_SECONDS = 120.0
"""How long `export` waits for another server's answer."""

EXPORT_EVENTS = 2000
"""Events that `export` sends in one batch; clients of the official server send at most 15 MiB."""

EXPORT_BYTES = 8 << 20
"""Bytes of events after which `export` begins another batch."""

UPLOAD_CHUNK_BYTES = 1 << 20
"""How much of an upload is held in memory before it is written."""

UPLOAD_FILES = 1000
"""Most files in one upload."""

UPLOAD_HEADER_BYTES = 16_384
"""Longest header in an upload: it has the file's name twice."""

DOWNLOAD_CHUNK_BYTES = 1 << 18
"""How much of a download is read at a time."""

DOCUMENT_DEPTH = 100
"""Deepest nesting of free-form values: SQLite searches no JSON deeper than 1000 levels."""

HEALTH_SECONDS = 5.0
"""How long the writer may keep a health check waiting."""

LOG_FILE_BYTES = 10_000_000
"""Size at which a detached server begins a new log file."""

LOG_FILES = 3
"""Older log files that are kept."""

START_SECONDS = 30.0
"""How long a detached server may take until it answers."""

STOP_SECONDS = 10
"""How long a server that is stopped lets running requests finish."""

"""Every limit and time-out of this package, in one place."""

FSYNC_INTERVAL_S = 1.0
"""Seconds between two fsyncs. A killed process loses nothing (its records are in the page cache already); a
machine that loses power loses at most the records of this interval."""

SEGMENT_BYTES = 64 * 2**20
"""Size at which a journal segment is closed and the next one begins."""

DIFF_BYTES = 2**20
"""Longest git diff that is kept with a run; what is longer is cut, and marked so."""

GIT_TIMEOUT_S = 10.0
"""Seconds that one git command may take before its answer is left out."""

ENVIRONMENT_WAIT_S = 10.0
"""Seconds that `finish` waits for the description of the environment, which a thread collects."""

PROCESS_START_TOLERANCE_S = 2.0
"""Two start times of one process id that differ by less belong to the same process."""

HISTOGRAM_BINS = 64
"""Bins of a histogram: enough for the shape of a weight matrix, few enough for a line of the journal."""

LOCK_WAIT_S = 1.0
"""How long to wait for a journal's lock: a killed writer may leave it for a moment to a child it was just starting."""

# What is captured.

CONSOLE_INTERVAL_S = 1.0
"""Seconds between two console events: what was printed since is lost if the process is killed."""

CONSOLE_LINES = 1000
"""Most lines of one console event: of a flood the latest are kept, the others counted."""

CONSOLE_PENDING_CHARS = 2**18
"""Most characters that wait for the next console event."""

CONSOLE_LINE_CHARS = 10_000
"""Longest line that is kept of the console."""

CONSOLE_LIVE_LINES = 50
"""Most lines at the end of the console that a live display may draw again."""

CONSOLE_REDRAWN_S = 10.0
"""Seconds after which a progress bar is recorded as it stands, though it is not finished."""

SYSTEM_METRICS_S = 10.0
"""Seconds between two looks at processor, memory, disk, network and GPUs, unless told otherwise."""

SYSTEM_METRICS_MIN_S = 0.1
"""Shortest such interval: a sample takes a few milliseconds."""

SYSTEM_METRICS_STOP_S = 2.0
"""Seconds that the end of a run waits for a sample that is being taken."""

WATCH_VALUES = 2**16
"""Most values of a watched parameter that its histogram counts: more would not change the picture."""

# The relay.

BATCH_RECORDS = 1000
"""Most records of one delivery: what a crash in the middle of it makes the tracker see twice."""

BATCH_BYTES = 2**20
"""Size of the journal's lines at which a delivery is full; one long record may exceed it."""

DELIVERY_INTERVAL_S = 1.0
"""Seconds from one delivery to the next, unless it is full or the run ends: fewer, larger requests."""

POLL_S = 0.2
"""Seconds between two looks at the journal or at a process."""

RETRY_FIRST_S = 1.0
"""Seconds before the first retry after a failure; doubled for each further one, and varied by a quarter so that
many runs do not come back to a server at the same moment."""

RETRY_MAX_S = 60.0
"""Longest time between two tries of an unreachable tracker."""

WORKER_STALL_S = 120.0
"""Seconds without a sign of life after which a worker counts as hung and is killed."""

UPLOAD_BYTES_PER_S = 2**20
"""Slowest upload that is not taken for a hang: a batch with files gets this much more time."""

WORKER_EXIT_S = 5.0
"""Seconds that a worker gets to finish its batch when it is asked to stop, or when the relay has died."""

LINGER_S = 600.0
"""Seconds without new records and without any progress after which the relay ends; a living run starts it again,
and `stepwise sync` delivers the rest of a finished one."""

RELAY_CHECK_S = 2.0
"""Seconds between two checks of a run that its relay still lives."""

FINISH_WAIT_S = 10.0
"""Seconds that `finish` waits for the relay, unless told otherwise."""

RELAY_LOG_BYTES = 2**20
"""Size at which `relay/relay.log` is set aside as `relay.log.1`, in place of the one before."""

RELAY_METRICS_S = 30.0
"""Seconds between two reports of the delivery lag as metrics of the run."""

NICENESS = 5
"""How much the relay steps back where it competes with the training for a processor."""

FOREIGN_QUIET_S = 600.0
"""Seconds without a record after which a run of another host, where no process can be seen, counts as over."""

CLEARML_PROBE_S = 5.0
"""Seconds that a ClearML server gets to answer at all, before its SDK is asked, which would wait without end."""

CLEARML_REQUEST_BYTES = 8 * 2**20
"""Size of one request with events: the official server takes 15 MiB."""

CLEARML_UPLOAD_S = 300.0
"""Seconds without progress after which an upload to a ClearML file server counts as failed."""

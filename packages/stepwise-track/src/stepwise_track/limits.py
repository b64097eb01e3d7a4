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

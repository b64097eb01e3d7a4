-- Entities: the columns are what is filtered or sorted on; `doc` is a JSON object with the rest. It stands last: a
-- column behind a long text costs a walk along the pages that the text overflows into.
-- Times are ISO text in UTC; tags are JSON arrays, sorted.

CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    status_reason TEXT NOT NULL,
    status_message TEXT NOT NULL,
    status_changed TEXT NOT NULL,
    comment TEXT,
    report TEXT,
    parent TEXT,
    project TEXT,
    user TEXT NOT NULL,
    tags TEXT NOT NULL,
    system_tags TEXT NOT NULL,
    created TEXT NOT NULL,
    started TEXT,
    completed TEXT,
    published TEXT,
    active_duration INTEGER,
    last_update TEXT NOT NULL,
    last_change TEXT NOT NULL,
    last_changed_by TEXT,
    last_iteration INTEGER NOT NULL,
    last_worker TEXT,
    last_worker_report TEXT,
    doc TEXT NOT NULL
);
CREATE INDEX tasks_project ON tasks (project, last_update);
CREATE INDEX tasks_parent ON tasks (parent);
CREATE INDEX tasks_status ON tasks (status, last_update);
CREATE INDEX tasks_last_update ON tasks (last_update);

CREATE TABLE models (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    parent TEXT,
    project TEXT,
    task TEXT,
    user TEXT NOT NULL,
    comment TEXT,
    uri TEXT,
    framework TEXT,
    ready INTEGER NOT NULL,
    tags TEXT NOT NULL,
    system_tags TEXT NOT NULL,
    created TEXT NOT NULL,
    last_update TEXT NOT NULL,
    last_change TEXT NOT NULL,
    last_changed_by TEXT,
    last_iteration INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX models_project ON models (project, last_update);
CREATE INDEX models_task ON models (task);
CREATE INDEX models_uri ON models (uri);

-- `path` is the JSON array of the ancestors' ids, the topmost first.
CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    basename TEXT NOT NULL,
    description TEXT,
    parent TEXT,
    path TEXT NOT NULL,
    user TEXT NOT NULL,
    default_output_destination TEXT,
    featured INTEGER NOT NULL,
    logo_url TEXT,
    tags TEXT NOT NULL,
    system_tags TEXT NOT NULL,
    created TEXT NOT NULL,
    last_update TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX projects_parent ON projects (parent);

CREATE TABLE queues (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT,
    user TEXT NOT NULL,
    tags TEXT NOT NULL,
    system_tags TEXT NOT NULL,
    created TEXT NOT NULL,
    last_update TEXT NOT NULL,
    doc TEXT NOT NULL
);

-- The head of a queue is the entry with the lowest position. A task waits in at most one queue.
CREATE TABLE queue_entries (
    task TEXT PRIMARY KEY,
    queue TEXT NOT NULL REFERENCES queues (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    added TEXT NOT NULL,
    previous_status TEXT
);
CREATE UNIQUE INDEX queue_entries_order ON queue_entries (queue, position);

-- A user who can log in has `username` and `password_hash`; `role` is admin, user or guest.
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    doc TEXT NOT NULL,
    name TEXT NOT NULL,
    family_name TEXT,
    given_name TEXT,
    avatar TEXT,
    role TEXT NOT NULL,
    username TEXT UNIQUE,
    password_hash TEXT,
    preferences TEXT NOT NULL DEFAULT '{}',
    created TEXT NOT NULL
);

CREATE TABLE credentials (
    access_key TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    label TEXT,
    created TEXT NOT NULL,
    last_used TEXT,
    last_used_from TEXT
);

-- Tokens that were taken back before they expired, by token id (`jti`), or all of a user (`user:<id>`) until then.
CREATE TABLE revoked_tokens (
    subject TEXT PRIMARY KEY,
    until REAL NOT NULL
);

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row per metric and variant of a task or model (`owner`): the cell of `last_metrics`, and what charts need.
-- `points` counts what was reported for charts, `unfolded` what of it came since the blocks were last brought up
-- to date; they hold all points before the iteration `folded_to`, in blocks of 2^shift iterations and multiples.
-- Ids are never used twice, for the points of deleted series are removed later (see `litter`).
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    metric TEXT NOT NULL,
    variant TEXT NOT NULL,
    metric_hash TEXT NOT NULL,
    variant_hash TEXT NOT NULL,
    x_axis_label TEXT,
    count INTEGER NOT NULL,
    value REAL,
    value_iteration INTEGER,
    value_timestamp INTEGER,
    min_value REAL,
    min_value_iteration INTEGER,
    max_value REAL,
    max_value_iteration INTEGER,
    first_value REAL,
    first_value_iteration INTEGER,
    mean_value REAL,
    points INTEGER NOT NULL DEFAULT 0,
    unfolded INTEGER NOT NULL DEFAULT 0,
    folded_to INTEGER,
    shift INTEGER,
    first_timestamp INTEGER,
    last_timestamp INTEGER
);
CREATE UNIQUE INDEX series_owner ON series (owner, metric_hash, variant_hash);

CREATE TABLE scalars (
    series INTEGER NOT NULL,
    iter INTEGER NOT NULL,
    value REAL NOT NULL,
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (series, iter)
) WITHOUT ROWID;

-- Sums over blocks of 8, 32, 128, … iterations (`level` 0, 1, 2, …), so that a chart of many points reads few rows.
-- `timestamp` is the first of the block.
CREATE TABLE scalar_blocks (
    series INTEGER NOT NULL,
    level INTEGER NOT NULL,
    block INTEGER NOT NULL,
    count INTEGER NOT NULL,
    total REAL NOT NULL,
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (series, level, block)
) WITHOUT ROWID;

-- Plots, images and vectors. `doc` is the event as it is returned, without the columns; `source_urls` is the JSON
-- array of the files that a plot shows.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    metric TEXT NOT NULL,
    variant TEXT NOT NULL,
    iter INTEGER NOT NULL,
    key TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    url TEXT,
    source_urls TEXT,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX events_identity ON events (owner, type, metric, variant, iter, key);
CREATE INDEX events_iteration ON events (owner, type, iter);

-- The console of a task: how many lines it has, and the number of the next one. Ids are never used twice.
CREATE TABLE consoles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL UNIQUE,
    lines INTEGER NOT NULL,
    next_number INTEGER NOT NULL
);

CREATE TABLE logs (
    console INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    number INTEGER NOT NULL,
    iter INTEGER,
    metric TEXT,
    variant TEXT,
    level TEXT,
    worker TEXT,
    msg TEXT NOT NULL,
    arrived TEXT NOT NULL,
    PRIMARY KEY (console, timestamp, number)
) WITHOUT ROWID;

-- Deleted series and consoles (`kind`) whose rows are still to be removed, a bounded piece at a time.
CREATE TABLE litter (
    kind TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;

-- When a task last reported events of a type for a metric: the task's `metric_stats`.
CREATE TABLE metric_stats (
    owner TEXT NOT NULL,
    metric TEXT NOT NULL,
    type TEXT NOT NULL,
    last_update TEXT NOT NULL,
    PRIMARY KEY (owner, metric, type)
) WITHOUT ROWID;

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    doc TEXT NOT NULL,
    user TEXT,
    last_report TEXT NOT NULL,
    expires TEXT NOT NULL
);

-- What workers report of their machines, and `active`: 1 while they run a task. `variant` is the number of the
-- core or GPU where a report has one value for each, else "". Milliseconds, at most one row a second.
CREATE TABLE worker_stats (
    metric TEXT NOT NULL,
    worker TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    variant TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (metric, worker, timestamp, variant)
) WITHOUT ROWID;

-- How long queues were and how long the tasks in them had waited, on average, in seconds. At most one row a second.
CREATE TABLE queue_stats (
    queue TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    length INTEGER NOT NULL,
    waited REAL NOT NULL,
    PRIMARY KEY (queue, timestamp)
) WITHOUT ROWID;

CREATE TABLE files (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created TEXT NOT NULL,
    user TEXT
) WITHOUT ROWID;

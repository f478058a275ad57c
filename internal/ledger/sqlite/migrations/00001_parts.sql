-- +goose Up
-- Times are milliseconds since 1970 in UTC, 0 where there is none. Steps and intents are the numbers of package ledger.
CREATE TABLE parts (
    site        TEXT    NOT NULL,
    linkedid    TEXT    NOT NULL,
    n           INTEGER NOT NULL,
    external_id TEXT    NOT NULL,
    phone       TEXT    NOT NULL DEFAULT '',
    start       INTEGER NOT NULL,
    hash        TEXT    NOT NULL DEFAULT '',
    step        INTEGER NOT NULL,
    intent      INTEGER NOT NULL DEFAULT 0,
    intent_at   INTEGER NOT NULL DEFAULT 0,
    call_id     TEXT    NOT NULL DEFAULT '',
    stat_id     INTEGER NOT NULL DEFAULT 0,
    activity_id INTEGER NOT NULL DEFAULT 0,
    file_id     INTEGER NOT NULL DEFAULT 0,
    staged      TEXT    NOT NULL DEFAULT '',
    adopted     INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    class       TEXT    NOT NULL DEFAULT '',
    error       TEXT    NOT NULL DEFAULT '',
    next_try    INTEGER NOT NULL DEFAULT 0,
    dead        INTEGER NOT NULL DEFAULT 0,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (site, linkedid, n)
) WITHOUT ROWID;
CREATE INDEX parts_call_id ON parts (call_id) WHERE call_id <> '';
CREATE INDEX parts_dead ON parts (site, start) WHERE dead = 1;

-- What was done for a part and what came of it, for people.
CREATE TABLE history (
    id       INTEGER PRIMARY KEY,
    site     TEXT    NOT NULL,
    linkedid TEXT    NOT NULL,
    n        INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    text     TEXT    NOT NULL
);
CREATE INDEX history_part ON history (site, linkedid, n, id);

-- The last good answer to a question that the portal may fail to answer next time, as JSON: the employees.
CREATE TABLE snapshots (
    site TEXT    NOT NULL,
    name TEXT    NOT NULL,
    at   INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (site, name)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE snapshots;
DROP TABLE history;
DROP TABLE parts;

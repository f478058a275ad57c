-- +goose Up
-- The tokens of a site's local app. They are secrets: the file is for sverka's user alone.
CREATE TABLE tokens (
    site              TEXT    NOT NULL PRIMARY KEY,
    access_token      TEXT    NOT NULL,
    refresh_token     TEXT    NOT NULL,
    expires           INTEGER NOT NULL,
    member_id         TEXT    NOT NULL,
    endpoint          TEXT    NOT NULL,
    server            TEXT    NOT NULL,
    scope             TEXT    NOT NULL,
    application_token TEXT    NOT NULL,
    updated_at        INTEGER NOT NULL
) WITHOUT ROWID;

-- Where a portal that was renamed is now, by the host that the configuration names.
CREATE TABLE moves (
    site    TEXT    NOT NULL,
    host    TEXT    NOT NULL,
    address TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (site, host)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE moves;
DROP TABLE tokens;

-- All times are milliseconds since 1970-01-01 UTC. All ids are 16 raw bytes, all hashes and digests 32.
-- No picture bytes in here: they are files (DATA/photos, DATA/derived).

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE events (
    id           BLOB PRIMARY KEY,
    name         TEXT NOT NULL,
    join_code    TEXT NOT NULL UNIQUE,
    policy       TEXT NOT NULL DEFAULT 'attested' CHECK (policy IN ('attested', 'off')),
    gallery_open INTEGER NOT NULL DEFAULT 1,
    created_at   INTEGER NOT NULL,
    closed_at    INTEGER,
    -- Grows with every change that a list can show; the lists' ETag.
    version      INTEGER NOT NULL DEFAULT 0,
    -- Grows when faces go away, so that galleries in memory load anew. New faces are found by their id.
    face_epoch   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE photographer_tokens (
    id         INTEGER PRIMARY KEY,
    event      BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    hash       BLOB NOT NULL,
    label      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    last_seen  INTEGER
) STRICT;
CREATE INDEX photographer_tokens_of_event ON photographer_tokens (event);

CREATE TABLE uploads (
    id         BLOB PRIMARY KEY,
    event      BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    photo      BLOB NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('original', 'preview')),
    length     INTEGER NOT NULL CHECK (length >= 0),
    -- Bytes that are on stable storage; the staged file may be longer, never shorter.
    offset     INTEGER NOT NULL DEFAULT 0 CHECK (offset BETWEEN 0 AND length),
    -- What the client announced; after completion what was stored.
    digest     BLOB,
    metadata   TEXT NOT NULL,
    name       TEXT NOT NULL,
    replaces   BLOB,
    complete   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    UNIQUE (event, photo, kind)
) STRICT;
CREATE INDEX uploads_unfinished ON uploads (touched_at) WHERE complete = 0;

CREATE TABLE photos (
    -- Order of acceptance: the key of every list.
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    event       BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    id          BLOB NOT NULL,
    name        TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    -- Digest and size of the original; NULL while only a preview has arrived.
    digest      BLOB,
    bytes       INTEGER,
    has_preview INTEGER NOT NULL DEFAULT 0,
    state       TEXT NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'indexed', 'failed')),
    reason      TEXT,
    -- Known once the derivatives are there.
    width       INTEGER,
    height      INTEGER,
    media       TEXT,
    taken_at    TEXT,
    hidden      INTEGER NOT NULL DEFAULT 0,
    -- Times that an index run was committed; 1 proves «index once».
    index_runs  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (event, id)
) STRICT;
CREATE INDEX photos_of_event ON photos (event, seq);

-- An earlier photo that a later one replaces; either may arrive first.
CREATE TABLE replacements (
    event BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    old   BLOB NOT NULL,
    new   BLOB NOT NULL,
    PRIMARY KEY (event, old, new)
) STRICT, WITHOUT ROWID;

-- Photos that the photographer deleted: they are not taken again.
CREATE TABLE tombstones (
    event      BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    photo      BLOB NOT NULL,
    deleted_at INTEGER NOT NULL,
    -- 0 until the files are gone too: a crash in between is made good at the next start.
    swept      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (event, photo)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    photo       INTEGER PRIMARY KEY REFERENCES photos (seq) ON DELETE CASCADE,
    event       BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    -- 1: pictures are made, the faces wait for models.
    waiting     INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    run_after   INTEGER NOT NULL DEFAULT 0,
    -- A claim is a lease, not an open transaction.
    lease       BLOB,
    lease_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX jobs_of_event ON jobs (event, waiting);

CREATE TABLE faces (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    event  BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    photo  INTEGER NOT NULL REFERENCES photos (seq) ON DELETE CASCADE,
    -- Fractions of the upright photo.
    x      REAL NOT NULL,
    y      REAL NOT NULL,
    width  REAL NOT NULL,
    height REAL NOT NULL,
    score  REAL NOT NULL,
    pack   TEXT NOT NULL,
    -- Sealed with the event's key, which lies outside the database.
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX faces_of_event ON faces (event, id);
CREATE INDEX faces_of_photo ON faces (photo);

CREATE TABLE guests (
    id         BLOB PRIMARY KEY,
    event      BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    session    BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX guests_of_event ON guests (event);

CREATE TABLE consents (
    id       INTEGER PRIMARY KEY,
    guest    BLOB NOT NULL REFERENCES guests (id) ON DELETE CASCADE,
    text     TEXT NOT NULL,
    language TEXT NOT NULL,
    given_at INTEGER NOT NULL
) STRICT;
CREATE INDEX consents_of_guest ON consents (guest);

CREATE TABLE enrolments (
    id         INTEGER PRIMARY KEY,
    guest      BLOB NOT NULL REFERENCES guests (id) ON DELETE CASCADE,
    pack       TEXT NOT NULL,
    vector     BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX enrolments_of_guest ON enrolments (guest);

-- What happened, in order: the stream that guests and photographers follow. An entry with a guest is for that guest
-- alone and goes when the guest is erased.
CREATE TABLE live (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    event BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    kind  TEXT NOT NULL CHECK (kind IN ('received', 'indexed', 'failed', 'you', 'maybe', 'removed')),
    photo BLOB NOT NULL,
    guest BLOB REFERENCES guests (id) ON DELETE CASCADE,
    at    INTEGER NOT NULL
) STRICT;
CREATE INDEX live_of_event ON live (event, seq);
CREATE INDEX live_of_guest ON live (guest) WHERE guest IS NOT NULL;

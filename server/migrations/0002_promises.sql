-- Retention, quotas, held and reported photos, people who are never matched, jobs that need attention, what was erased.

-- NULL: until the event is deleted by hand. Events from before this version get a month for their faces.
ALTER TABLE events ADD COLUMN faces_until INTEGER;
ALTER TABLE events ADD COLUMN photos_until INTEGER;
-- When the server itself erased the faces; it finds none since.
ALTER TABLE events ADD COLUMN faces_erased_at INTEGER;
-- The line that the operator agreed to at creation («everyone was told»), and when.
ALTER TABLE events ADD COLUMN attested_text TEXT;
ALTER TABLE events ADD COLUMN attested_at INTEGER;
UPDATE events SET faces_until = (unixepoch() + 30 * 86400) * 1000;

-- Quota of a token (NULL: none) and what was used of it. Counted when an upload is created, given back when one is
-- forgotten unfinished.
ALTER TABLE photographer_tokens ADD COLUMN max_uploads INTEGER;
ALTER TABLE photographer_tokens ADD COLUMN max_bytes INTEGER;
ALTER TABLE photographer_tokens ADD COLUMN uploads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE photographer_tokens ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

ALTER TABLE uploads ADD COLUMN token INTEGER REFERENCES photographer_tokens (id) ON DELETE SET NULL;
-- 1: the photo waits until it is released.
ALTER TABLE uploads ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX uploads_of_token ON uploads (token) WHERE token IS NOT NULL;

-- shown: to guests; held: until released; reported: by a guest, until looked at; hidden: by the photographer.
ALTER TABLE photos ADD COLUMN visibility TEXT NOT NULL DEFAULT 'shown'
    CHECK (visibility IN ('shown', 'held', 'reported', 'hidden'));
UPDATE photos SET visibility = 'hidden' WHERE hidden = 1;
ALTER TABLE photos DROP COLUMN hidden;
-- Byte ranges of the original that tell where it was taken: pairs of 64-bit little-endian numbers (first byte, length).
-- Guests get zeros there; spaces where the length has its highest bit set; the length's own lowest four bytes where it
-- has the bit below (a checksum). NULL: not looked for yet.
ALTER TABLE photos ADD COLUMN private_ranges BLOB;
-- When its faces became searchable the first time.
ALTER TABLE photos ADD COLUMN indexed_at INTEGER;

-- Times that a job was put off by something that may pass, and the last of these troubles: a stable word.
ALTER TABLE jobs ADD COLUMN delays INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN trouble TEXT;
-- Since when it is asked for.
ALTER TABLE jobs ADD COLUMN queued_at INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET queued_at = unixepoch() * 1000;
-- A claim takes the first that may run; a long queue is not read through for it.
CREATE INDEX jobs_in_order ON jobs (waiting, attempts, photo DESC);
DROP INDEX jobs_of_event;
CREATE INDEX jobs_of_event ON jobs (event, waiting, queued_at);
CREATE INDEX photos_failed ON photos (seq) WHERE state = 'failed';

CREATE INDEX live_of_photo ON live (event, photo);

ALTER TABLE consents ADD COLUMN purpose TEXT NOT NULL DEFAULT 'search' CHECK (purpose IN ('search', 'never'));

-- 1: for photographers alone; what guests may not see is not told to them either.
ALTER TABLE live ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
UPDATE live SET private = 1 WHERE guest IS NULL;

-- People who are never matched: faces like these are dropped as soon as they are found. Outlives the guest's erasure.
CREATE TABLE suppressions (
    id       INTEGER PRIMARY KEY,
    event    BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    guest    BLOB REFERENCES guests (id) ON DELETE SET NULL,
    pack     TEXT NOT NULL,
    -- Sealed with the event's key.
    vector   BLOB NOT NULL,
    -- Version and language of the text that was agreed to.
    text     TEXT NOT NULL,
    language TEXT NOT NULL,
    given_at INTEGER NOT NULL
) STRICT;
CREATE INDEX suppressions_of_event ON suppressions (event);
CREATE INDEX suppressions_of_guest ON suppressions (guest) WHERE guest IS NOT NULL;

-- «Take this photo down».
CREATE TABLE reports (
    id          INTEGER PRIMARY KEY,
    event       BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    photo       INTEGER NOT NULL REFERENCES photos (seq) ON DELETE CASCADE,
    guest       BLOB REFERENCES guests (id) ON DELETE SET NULL,
    reported_at INTEGER NOT NULL,
    resolved_at INTEGER,
    -- What the photographer decided.
    outcome     TEXT CHECK (outcome IN ('shown', 'hidden', 'deleted'))
) STRICT;
CREATE INDEX reports_of_event ON reports (event, id);
CREATE INDEX reports_of_photo ON reports (photo);

-- Counts of lists are read from this alone.
CREATE INDEX photos_counts ON photos (event, state, visibility);

-- What was erased, by whom and how much: no names, no faces, no reference that could keep something alive.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    event  BLOB NOT NULL,
    actor  TEXT NOT NULL CHECK (actor IN ('operator', 'photographer', 'guest', 'server')),
    action TEXT NOT NULL,
    count  INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_of_event ON audit (event, id);

-- Who may still listen, what «never match me» remembers, one consent for one agreement, the log counted by event.

-- Grows whenever somebody may have lost what they had: open streams then look whether they may go on.
CREATE TABLE standing (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    changes INTEGER NOT NULL
) STRICT;
INSERT INTO standing VALUES (1, 0);

-- When the event's deletion began: nobody is let in any more.
ALTER TABLE events ADD COLUMN deleting_at INTEGER;
-- When a guest last erased themselves.
ALTER TABLE guests ADD COLUMN erased_at INTEGER;

CREATE TRIGGER standing_of_tokens AFTER UPDATE OF revoked_at ON photographer_tokens BEGIN
    UPDATE standing SET changes = changes + 1;
END;
CREATE TRIGGER standing_of_erased AFTER UPDATE OF erased_at ON guests BEGIN
    UPDATE standing SET changes = changes + 1;
END;
CREATE TRIGGER standing_of_guests AFTER DELETE ON guests BEGIN
    UPDATE standing SET changes = changes + 1;
END;
CREATE TRIGGER standing_of_terms AFTER UPDATE OF gallery_open, closed_at, deleting_at ON events BEGIN
    UPDATE standing SET changes = changes + 1;
END;
CREATE TRIGGER standing_of_events AFTER DELETE ON events BEGIN
    UPDATE standing SET changes = changes + 1;
END;

-- Numbers of the log's entries within their event: what a listener sees tells nothing of other events. Those that were
-- there keep the numbers that they were told under.
ALTER TABLE live ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE live SET number = seq;
DROP INDEX live_of_event;
CREATE UNIQUE INDEX live_in_order ON live (event, number);
-- The highest number that was given, and the highest that was dropped for its age.
ALTER TABLE events ADD COLUMN live_end INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN live_start INTEGER NOT NULL DEFAULT 0;
UPDATE events SET live_end = COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'live'), 0);
UPDATE events SET live_start = COALESCE((SELECT MIN(number) - 1 FROM live WHERE event = events.id), live_end);
DELETE FROM settings WHERE key = 'live-start';

-- One row for one agreement, however often it was tried.
DELETE FROM consents WHERE id NOT IN (SELECT MIN(id) FROM consents GROUP BY guest, purpose, text);
DROP INDEX consents_of_guest;
CREATE UNIQUE INDEX consents_once ON consents (guest, purpose, text);

-- held: somebody has to look at it before it takes effect.
ALTER TABLE suppressions ADD COLUMN state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('held', 'active'));
-- A pack measures what another does not understand: one person has vectors of several.
CREATE TABLE suppression_vectors (
    id          INTEGER PRIMARY KEY,
    suppression INTEGER NOT NULL REFERENCES suppressions (id) ON DELETE CASCADE,
    pack        TEXT NOT NULL,
    -- Sealed with the event's key.
    vector      BLOB NOT NULL,
    -- 1: of a face that was dropped by its place, not of the guest's own picture.
    carried     INTEGER NOT NULL DEFAULT 0,
    -- 1: the faces like it that were stored before it are gone.
    applied     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX suppression_vectors_of ON suppression_vectors (suppression, pack);
CREATE INDEX suppression_vectors_due ON suppression_vectors (id) WHERE applied = 0;
INSERT INTO suppression_vectors (suppression, pack, vector, applied) SELECT id, pack, vector, 1 FROM suppressions;
ALTER TABLE suppressions DROP COLUMN vector;
ALTER TABLE suppressions DROP COLUMN pack;
-- Where such a face was dropped: no measurement, so that it is known again by a pack that comes later, and so that its
-- photo is looked at again when the suppression is lifted.
CREATE TABLE suppressed_faces (
    id          INTEGER PRIMARY KEY,
    suppression INTEGER NOT NULL REFERENCES suppressions (id) ON DELETE CASCADE,
    photo       INTEGER NOT NULL REFERENCES photos (seq) ON DELETE CASCADE,
    -- Fractions of the upright photo.
    x           REAL NOT NULL,
    y           REAL NOT NULL,
    width       REAL NOT NULL,
    height      REAL NOT NULL
) STRICT;
CREATE INDEX suppressed_faces_of_photo ON suppressed_faces (photo);
CREATE INDEX suppressed_faces_of ON suppressed_faces (suppression);

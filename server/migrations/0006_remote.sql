-- Faces that an engine elsewhere finds and compares (pack 'rekognition'). Where such a row holds a `vector`, it is a
-- reference and no measurement: the event's 16 bytes, then the engine's own name of the face.

-- The engine's collection of an event: made once, whoever needs it first.
CREATE TABLE remote_collections (
    event        BLOB PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
    -- 1: it is there.
    made         INTEGER NOT NULL DEFAULT 0,
    -- Until then whoever makes it is left alone.
    making_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the engine is still to erase. Refers to nothing, so that it outlives everything.
CREATE TABLE remote_erasures (
    id    INTEGER PRIMARY KEY,
    event BLOB NOT NULL,
    -- The engine's name of the face; NULL: the whole collection.
    face  BLOB
) STRICT;

-- Whose faces the engine was asked to keep, without the answer being on record yet.
CREATE TABLE remote_open (
    event BLOB NOT NULL,
    -- What the engine knows them by: the photo's or the guest's id.
    name  TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (event, name)
) STRICT, WITHOUT ROWID;

-- What was asked of it, and the price.
CREATE TABLE remote_calls (
    -- Of UTC, as in 2026-11.
    month     TEXT NOT NULL,
    event     BLOB NOT NULL,
    operation TEXT NOT NULL,
    calls     INTEGER NOT NULL,
    -- Millionths of a dollar.
    price     INTEGER NOT NULL,
    PRIMARY KEY (month, event, operation)
) STRICT, WITHOUT ROWID;

-- How like an enrolment's face a photo's is, as the engine said.
CREATE TABLE remote_matches (
    enrolment  INTEGER NOT NULL REFERENCES enrolments (id) ON DELETE CASCADE,
    face       INTEGER NOT NULL REFERENCES faces (id) ON DELETE CASCADE,
    -- 0 to 1.
    similarity REAL NOT NULL,
    PRIMARY KEY (enrolment, face)
) STRICT, WITHOUT ROWID;
CREATE INDEX remote_matches_of_face ON remote_matches (face);

-- Up to which face of the event it was searched for (-1: not at all), and when the last search began.
ALTER TABLE enrolments ADD COLUMN searched_to INTEGER NOT NULL DEFAULT -1;
ALTER TABLE enrolments ADD COLUMN searched_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE suppression_vectors ADD COLUMN searched_to INTEGER NOT NULL DEFAULT 0;

CREATE INDEX faces_elsewhere ON faces (vector) WHERE pack = 'rekognition';
CREATE INDEX enrolments_elsewhere ON enrolments (vector) WHERE pack = 'rekognition';

-- Whatever makes a reference go, its face is to be erased elsewhere too, unless something else still refers to it.
CREATE TRIGGER remote_face_gone AFTER DELETE ON faces WHEN old.pack = 'rekognition' BEGIN
    INSERT INTO remote_erasures (event, face) VALUES (substr(old.vector, 1, 16), substr(old.vector, 17));
END;
CREATE TRIGGER remote_enrolment_gone AFTER DELETE ON enrolments WHEN old.pack = 'rekognition'
    AND NOT EXISTS (SELECT 1 FROM faces WHERE pack = 'rekognition' AND vector = old.vector)
BEGIN
    INSERT INTO remote_erasures (event, face) VALUES (substr(old.vector, 1, 16), substr(old.vector, 17));
END;
CREATE TRIGGER remote_suppression_gone AFTER DELETE ON suppression_vectors WHEN old.pack = 'rekognition'
    AND NOT EXISTS (SELECT 1 FROM faces WHERE pack = 'rekognition' AND vector = old.vector)
BEGIN
    INSERT INTO remote_erasures (event, face) VALUES (substr(old.vector, 1, 16), substr(old.vector, 17));
END;
CREATE TRIGGER remote_collection_gone AFTER DELETE ON remote_collections BEGIN
    INSERT INTO remote_erasures (event, face) VALUES (old.event, NULL);
END;

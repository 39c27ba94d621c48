-- How good a face is for comparing. NULL: found before this was measured.
-- Its height in pixels of the file.
ALTER TABLE faces ADD COLUMN pixels REAL;
-- 0 (a smear) to 1 (crisp).
ALTER TABLE faces ADD COLUMN sharpness REAL;
-- 0 (looks into the camera) to 1 (seen from the side).
ALTER TABLE faces ADD COLUMN turned REAL;

-- A session finds several people (a family): 0 is the guest, the others in the order of adding.
ALTER TABLE enrolments ADD COLUMN person INTEGER NOT NULL DEFAULT 0;
-- The photo that the vector comes from, where the guest said «yes, me»; NULL: a selfie.
ALTER TABLE enrolments ADD COLUMN photo BLOB;

-- What a guest said about a photo: «yes, me» (1) or «not me» (0).
CREATE TABLE verdicts (
    guest    BLOB NOT NULL REFERENCES guests (id) ON DELETE CASCADE,
    photo    INTEGER NOT NULL REFERENCES photos (seq) ON DELETE CASCADE,
    mine     INTEGER NOT NULL,
    given_at INTEGER NOT NULL,
    PRIMARY KEY (guest, photo)
) STRICT, WITHOUT ROWID;
CREATE INDEX verdicts_of_photo ON verdicts (photo);

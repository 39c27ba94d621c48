-- Versions of a shot. Which of them guests see is not stored: it follows from these rows and from the photos.

CREATE TABLE versions (
    event BLOB NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    -- May not have arrived yet, or be deleted: the order of a shot is kept.
    photo BLOB NOT NULL,
    -- The same for all versions of a shot: the id of one of them.
    shot  BLOB NOT NULL,
    -- Order within the shot; the highest is the newest version.
    rank  INTEGER NOT NULL,
    PRIMARY KEY (event, photo)
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_of_shot ON versions (event, shot, rank);

-- What was declared until now: photos that are linked are one shot, and who replaces more is newer.
INSERT INTO versions (event, photo, shot, rank)
WITH RECURSIVE
    links (event, one, other) AS (
        SELECT event, old, new FROM replacements UNION SELECT event, new, old FROM replacements
    ),
    together (event, photo, member) AS (
        SELECT event, one, one FROM links
        UNION SELECT together.event, together.photo, links.other FROM together
            JOIN links ON links.event = together.event AND links.one = together.member
    ),
    below (event, photo, member) AS (
        SELECT event, one, one FROM links
        UNION SELECT below.event, below.photo, replacements.old FROM below
            JOIN replacements ON replacements.event = below.event AND replacements.new = below.member
    )
SELECT event, photo, MIN(member),
    (SELECT COUNT(*) FROM below WHERE below.event = together.event AND below.photo = together.photo)
FROM together GROUP BY event, photo;

DROP TABLE replacements;

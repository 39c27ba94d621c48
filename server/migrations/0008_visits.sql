-- Stars, and guests who come back without a password.

-- 1: its photographer starred it.
ALTER TABLE photos ADD COLUMN featured INTEGER NOT NULL DEFAULT 0;

-- A guest's way back: one link at a time, of which only the hash is kept.
CREATE TABLE return_links (
    guest      BLOB PRIMARY KEY REFERENCES guests (id) ON DELETE CASCADE,
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
-- Browsers that came by it; they are out when it ends.
CREATE TABLE return_sessions (
    session    BLOB PRIMARY KEY,
    guest      BLOB NOT NULL REFERENCES return_links (guest) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX return_sessions_of ON return_sessions (guest, created_at);

-- When a guest's link last ended: open streams and remembered sessions are looked at anew.
ALTER TABLE guests ADD COLUMN link_ended_at INTEGER;

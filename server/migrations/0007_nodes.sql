-- Where the bytes of an unfinished upload are, when several machines take uploads.

-- The node that has them; NULL: the only one there is.
ALTER TABLE uploads ADD COLUMN node BLOB;
-- Grows whenever another node starts the upload over: what the one before still writes counts no more.
ALTER TABLE uploads ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;

"""A small server moved to a cluster: its catalogue of so many photos, and some of its files. Called by `tests/harness/run
cluster-migrate [photos=50000] [files=1500]` inside `tests/on-postgres`. Ends the run unless every row is there.
"""

import resource, sqlite3, time

from nodes import *

PHOTOS, FILES, FACES = number("photos", 50_000), number("files", 1500), 4


def small_server():
    """A data folder with rows as the server writes them; the first photos have their three files."""
    data = WORK / "small"
    made = subprocess.run([BIN / "findme-server", "event", "create", "party", "--data", data], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    event = re.search(r"fmp\.([0-9a-f]{32})", made.stdout).group(1)
    dice = random.Random(SEED)
    file = sqlite3.connect(data / "findme.sqlite")
    raw = bytes.fromhex(event)
    for seq in range(1, PHOTOS + 1):
        photo, digest = dice.randbytes(16), dice.randbytes(32)
        file.execute("INSERT INTO photos (seq, event, id, name, accepted_at, visibility, digest, bytes, state, width, height, media, index_runs) "
                     "VALUES (?, ?, ?, ?, ?, 'shown', ?, 20000, 'indexed', 6000, 4000, 'image/jpeg', 1)", (seq, raw, photo, f"DSC_{seq}.JPG", seq, digest))
        file.execute("INSERT INTO uploads (id, event, photo, kind, length, \"offset\", digest, metadata, name, complete, created_at, touched_at) "
                     "VALUES (?, ?, ?, 'original', 20000, 20000, ?, '', '', 1, 0, 0)", (dice.randbytes(16), raw, photo, digest))
        for _ in range(FACES):
            file.execute("INSERT INTO faces (event, photo, x, y, width, height, score, pack, vector) VALUES (?, ?, .1, .1, .1, .1, .9, 'pack', ?)",
                         (raw, seq, dice.randbytes(1064)))
        if seq <= FILES:
            for name in (f"photos/{event}/{photo.hex()}", f"derived/{event}/{photo.hex()}.preview.jpg", f"derived/{event}/{photo.hex()}.thumb.jpg"):
                (data / name).write_bytes(dice.randbytes(20_000))
    file.commit()
    file.close()
    return data


def main():
    began = time.monotonic()
    data = small_server()
    say(f"{PHOTOS} photos with {FACES} faces each, {3 * FILES} files; made in {time.monotonic() - began:.0f} s; logs in {WORK}")
    site = Site("moved")
    words = [BIN / "findme-server", "migrate", "--from", data, "--data", WORK / "desk", *site.words()]
    began = time.monotonic()
    child = start(words, "migrate", site.environment)
    files_done = 0.0
    # Also connections that do nothing tell what they did last.
    writes_rows = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'moved' AND state <> 'idle' AND query ILIKE 'INSERT INTO%' AND query NOT ILIKE '%settings%'"
    while child.poll() is None:
        # Files go first; then rows, in one transaction.
        if not files_done and site.sql(writes_rows) != "0":
            files_done = time.monotonic() - began
        time.sleep(0.1)
    took = time.monotonic() - began
    assert child.returncode == 0, (WORK / "migrate.log").read_text()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows = PHOTOS * (2 + FACES)
    for table, expected in (("photos", PHOTOS), ("uploads", PHOTOS), ("faces", FACES * PHOTOS)):
        found = int(site.sql(f"SELECT COUNT(*) FROM {table}"))
        assert found == expected, f"{found} of {expected} rows of {table}"
    here = sqlite3.connect(data / "findme.sqlite").execute("SELECT hex(digest) FROM photos ORDER BY seq").fetchall()
    there = site.sql("SELECT upper(encode(digest, 'hex')) FROM photos ORDER BY seq").splitlines()
    assert [digest for (digest,) in here] == there, "rows differ"
    said = next(line for line in (WORK / "migrate.log").read_text().splitlines() if "taken over" in line)
    say(f"{rows} rows and {3 * FILES} files in {took:.0f} s: files {3 * FILES / max(files_done, .1):.0f}/s, rows {rows / max(took - files_done, .1):,.0f}/s; "
        f"largest process {peak:.0f} MiB; {said}")


try:
    main()
finally:
    clean_up()

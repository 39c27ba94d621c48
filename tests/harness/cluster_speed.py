"""Photos a second through web and worker nodes on PostgreSQL and an S3-compatible store: ingest by 1, 2 and 4 watchers
at once, then indexing with faces by 1, 2 and 4 worker processes of one thread each, over the same photos. Called by
`tests/harness/run cluster-speed [photos=48] [megapixels=12] [small=600]`, which builds everything optimised; needs the
folder of models and labelled faces (FINDME_SHARED). Draws `cluster-speed.svg` into the folder that FINDME_PLOTS names.
"""

import os, subprocess, sys, time

from nodes import *
from plot import lines

SHARED = Path(os.environ.get("FINDME_SHARED", ROOT.parent / "shared"))
PHOTOS, MEGAPIXELS, SMALL = number("photos", 48), number("megapixels", 12), number("small", 600)
COUNTS = (1, 2, 4)


def make_event():
    """An event with faces, in one folder for each watcher."""
    made = WORK / "event"
    subprocess.run([sys.executable, SHARED / "tools" / "make_event.py", "--people", SHARED / "photos" / "lfw" / "identities", "--out", made,
                    "--seed", "7", "--strangers", "12", "--photos", str(PHOTOS), "--guests", "6", "--megapixels", str(MEGAPIXELS)],
                   check=True, stdout=subprocess.DEVNULL)
    return sorted((made / "photos").iterdir())


def ingest(site, port, watchers):
    """Photos a second until all are received."""
    contents = make_photos(SMALL, watchers, 100_000 * watchers)  # others each time: nothing is there already
    bytes_in = sum(path.stat().st_size for path in contents.values())
    began = time.monotonic()
    running = [watch(port, card, "--jobs", "8") for card in range(watchers)]
    received = lambda: int(site.sql("SELECT COUNT(*) FROM photos"))
    wait_for("all photos", 600, lambda: received() == SMALL)
    took = time.monotonic() - began
    # They would wait until everything is indexed, and nobody indexes.
    for child in running:
        child.terminate()
        child.wait(timeout=60)
    for path in contents.values():
        path.unlink()
    return SMALL / took, bytes_in / took


def index(site, workers):
    """Photos a second from the start of the workers to an empty queue, all photos waiting; start and models not counted."""
    site.sql("INSERT INTO jobs (photo, event, queued_at) SELECT seq, event, 0 FROM photos ON CONFLICT DO NOTHING")
    total = int(site.sql("SELECT COUNT(*) FROM jobs"))
    assert total == PHOTOS, f"{total} jobs"
    nodes = [Node("worker", 10 * workers + n, site, more=["--models", SHARED / "models", "--workers", "1"]) for n in range(workers)]
    left = lambda: int(site.sql("SELECT COUNT(*) FROM jobs"))
    wait_for("the first photo", 120, lambda: left() < total)
    began, first = time.monotonic(), left()
    while left() > 0:
        time.sleep(0.02)
        assert time.monotonic() - began < 900, "the workers do not come to an end"
    took = time.monotonic() - began
    for node in nodes:
        node.stop()
    return first / took


def main():
    say(f"{PHOTOS} photos of {MEGAPIXELS} megapixels with faces, {SMALL} small ones; {os.cpu_count()} cores; logs in {WORK}")
    site = Site("speed")
    web = Node("web", 0, site)
    wait_for("the web node", 60, web.is_ready)
    port = balancer([web])
    site.create_event()
    came = {}
    for watchers in COUNTS:
        rate, volume = ingest(site, port, watchers)
        came[watchers] = rate
        say(f"ingest, {watchers} watchers: {rate:.0f} photos/s, {volume / 1e6:.1f} MB/s")
        site.sql("DELETE FROM photos")  # and their jobs
        site.sql("DELETE FROM uploads")
    card = WORK / "card-9"
    card.mkdir()
    for photo in make_event():
        photo.rename(card / photo.name)
    sender = watch(port, 9)
    wait_for("the photos with faces", 600, lambda: site.sql("SELECT COUNT(*) FROM photos") == str(PHOTOS))
    sender.terminate()
    sender.wait(timeout=60)
    indexed = {}
    for workers in COUNTS:
        indexed[workers] = index(site, workers)
        say(f"indexing, {workers} worker processes of one thread: {indexed[workers]:.2f} photos/s")
    if folder := os.environ.get("FINDME_PLOTS"):
        drawn = lines("Photos a second on two cores", "processes", "photos/s",
                      {"indexing, with faces": indexed, "ingest / 100": {n: rate / 100 for n, rate in came.items()}})
        Path(folder, "cluster-speed.svg").write_text(drawn)


try:
    main()
finally:
    clean_up()

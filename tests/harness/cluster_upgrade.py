"""An upgrade while photos arrive: nodes of the release before the newest migration and of this one, side by side on one
PostgreSQL and one store. Called by `tests/harness/run cluster-upgrade [photos=400]`, which builds both.

Old nodes take photos; a new node comes and migrates the schema beneath them; then each old node is stopped and started
as a new one. Then columns are added to all tables, as a next migration may do beneath these. Promises that end the run: 0 photos lost, 0 twice, 0 damaged, each indexed once, no upload refused, and no
answer but a good one of an old node until it is stopped.
"""

import collections, http.client, json, threading, time

from nodes import *

PHOTOS = number("photos", 400)
OLD = BIN / "before" / "findme-server"


class Asker(threading.Thread):
    """Asks each node for the list twice a second; the answers by the node's program and status."""

    def __init__(self, webs, token):
        super().__init__(daemon=True)
        self.webs, self.token, self.answers = webs, token, collections.Counter()
        self.start()

    def run(self):
        while True:
            for web in list(self.webs):
                release = "before" if web.program == OLD else "now"
                try:
                    line = http.client.HTTPConnection(web.address, web.port, timeout=10)
                    line.request("GET", "/api/all-photos?limit=10", headers={"Authorization": f"Bearer {self.token}"})
                    self.answers[release, line.getresponse().status] += 1
                except (OSError, http.client.HTTPException):
                    self.answers[release, "away"] += 1
            time.sleep(0.5)


def kind_of(line):
    try:
        return json.loads(line)["type"]
    except (ValueError, KeyError, TypeError):
        return "something else"


def main():
    say(f"seed {SEED}; {PHOTOS} photos; logs in {WORK}")
    site = Site("upgrade")
    old = [Node(role, n, site, OLD) for role in ("web", "worker") for n in range(2)]
    webs = [node for node in old if node.role == "web"]
    for web in webs:
        wait_for("the nodes of before", 60, web.is_ready)
    token = site.create_event(OLD)
    before = site.sql("SELECT MAX(version) FROM _sqlx_migrations")
    # The balancer knows all of them from the beginning; the new one is not there yet.
    coming = Node("web", 9, site, start_now=False)
    port, _ = balancer([*webs, coming])
    contents = {}

    def arrive():
        for first in range(0, PHOTOS, 4):
            contents.update(make_photos(4, 2, first))
            time.sleep(0.25)

    camera = threading.Thread(target=arrive, daemon=True)
    (WORK / "card-0").mkdir()
    (WORK / "card-1").mkdir()
    watchers = [watch(port, n, output="json") for n in range(2)]
    camera.start()
    asker = Asker(webs + [coming], token)
    count = lambda: int(site.sql("SELECT COUNT(*) FROM photos"))
    wait_for("a third of the photos", 120, lambda: count() >= PHOTOS // 3)
    coming.run()
    wait_for("the node of now", 60, coming.is_ready)
    after = site.sql("SELECT MAX(version) FROM _sqlx_migrations")
    worker = Node("worker", 9, site)
    at = count()
    say(f"schema {before} → {after} beneath running nodes, at {at} photos")
    assert before != after, "there was nothing to migrate"
    wait_for("photos beside each other", 120, lambda: count() >= min(PHOTOS, at + PHOTOS // 4))
    beside = dict(asker.answers)
    for node in old:
        node.stop()
        node.program = BIN / "findme-server"
        node.run()
        wait_for(f"{node.name} as one of now", 60, node.is_ready)
    say(f"all nodes are of now, at {count()} photos")
    asker.answers.clear()
    tables = site.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'").splitlines()
    for table in tables:
        site.sql(f'ALTER TABLE "{table}" ADD COLUMN of_the_next_version BIGINT NOT NULL DEFAULT 0')
    at = count()
    say(f"columns added to {len(tables)} tables beneath them, at {at} photos")
    camera.join()
    wait_for("everything sent and indexed", 300, lambda: count() == PHOTOS and site.sql("SELECT COUNT(*) FROM jobs") == "0")
    for child in watchers:
        child.terminate()
        child.wait(timeout=60)
    said = collections.Counter(kind_of(line) for n in range(2) for line in (WORK / f"watch-{n}.log").read_text().splitlines())
    found = audit(site, port, token, contents)
    words = lambda answers: ", ".join(f"{release} {status}: {n}" for (release, status), n in sorted(answers.items(), key=str))
    say(f"{PHOTOS} photos: " + ", ".join(f"{n} {what}" for what, n in found.items()))
    say(f"lists asked for until the first old node ended: {words(beside)}; after the columns were added: {words(asker.answers)}")
    say(f"the watchers say: {said['uploaded']} uploaded, {said['failed']} refused")
    assert not any(found.values())
    assert (said["uploaded"], said["failed"]) == (PHOTOS, 0)
    assert [status for release, status in beside if release == "before"] == [200], "an old node did not answer"
    assert at < PHOTOS and list(asker.answers) == [("now", 200)], "a node of now does not bear new columns"
    assert worker.child.poll() is None


try:
    main()
finally:
    clean_up()

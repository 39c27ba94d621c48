"""Many machines, as processes of this one: web and worker nodes on PostgreSQL and an S3-compatible store behind a balancer,
killed at random while watchers upload, their lines disturbed. Called by `tests/harness/run cluster [kills=200]
[photos=2000] [nodes=3] [namespaces=1]`, inside `tests/on-postgres`; needs nginx, Pillow and moto (which it installs into
a folder of its own), and root for nodes in network namespaces; else they are on loopback.

Promises that end the run when they are broken: 0 photos lost, 0 twice, 0 damaged, each indexed once, and a listener who
reconnects hears of each once.
"""

import collections, http.client, random, subprocess, threading, time, os

from nodes import *

KILLS, PHOTOS, NODES = number("kills", 200), number("photos", 2000), number("nodes", 3)
dice = random.Random(SEED)


class Listener(threading.Thread):
    """A photographer's live stream, which goes on where it broke."""

    def __init__(self, port, token):
        super().__init__(daemon=True)
        self.port, self.token, self.last, self.heard, self.breaks, self.resets = port, token, None, [], 0, 0
        self.start()

    def run(self):
        while True:
            try:
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
                if self.last is not None:
                    headers["Last-Event-ID"] = self.last
                line.request("GET", "/api/live", headers=headers)
                answer = line.getresponse()
                if answer.status == 200:
                    self.listen(answer)
            except (OSError, http.client.HTTPException):
                pass
            self.breaks += 1
            time.sleep(0.2)

    def listen(self, answer):
        entry = {}
        while raw := answer.readline():
            text = raw.decode().rstrip("\r\n")
            if not text:
                if "id" in entry:
                    self.last = entry["id"]
                if entry.get("event") == "reset":
                    self.resets += 1
                if "data" in entry:
                    self.heard.append((entry.get("event"), entry.get("id"), entry["data"]))
                entry = {}
            elif not text.startswith(":"):
                key, _, value = text.partition(":")
                entry[key] = value.strip()


def restart_database():
    subprocess.run(os.environ["FINDME_TEST_PG_RESTART"].split(), check=True, stdout=subprocess.DEVNULL)


def disturbances(site, nodes):
    """What goes wrong between nodes and engines, by name; each lasts as long as it is told to."""
    known = {
        "database line cut": lambda: site.database_line.cut(dice.uniform(0.2, 2)),
        "database answers lost": lambda: site.database_line.mute(dice.uniform(0.2, 1)),
        "database line stalled": lambda: site.database_line.pause(dice.uniform(0.5, 4)),
        "store line cut": lambda: site.store_line.cut(dice.uniform(0.2, 2)),
        "store answers lost": lambda: site.store_line.mute(dice.uniform(0.2, 1)),
        "store answers 503": lambda: site.store_line.fail(dice.uniform(0.5, 4)),
        "store line stalled": lambda: site.store_line.pause(dice.uniform(0.5, 4)),
    }
    if site.net.real:
        known |= {
            "node unplugged": lambda: dice.choice(nodes).unplug(dice.uniform(0.5, 4)),
            "node's packets to the database lost": lambda: dice.choice(nodes).lose(site.database_line.port, dice.uniform(0.5, 4)),
            "node's packets to the store lost": lambda: dice.choice(nodes).lose(site.store_line.port, dice.uniform(0.5, 4)),
        }
    return known


def kill_and_disturb(site, nodes):
    """Kills spread over the upload: not all before it has begun, nor after its end. What went wrong beside them, counted."""
    known, happened = disturbances(site, nodes), collections.Counter()
    order = []
    for kills in range(KILLS):
        share = PHOTOS * kills // (KILLS + 1)
        deadline = time.monotonic() + 120
        while True:
            for node in nodes:
                node.keep()
            try:
                if int(site.sql("SELECT COUNT(*) FROM photos WHERE state = 'indexed'") or 0) >= share:
                    break
            except subprocess.CalledProcessError:
                pass
            if time.monotonic() > deadline:
                give_up(f"no progress after {kills} kills")
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 0.1))
        node = dice.choice(nodes)
        node.kill()
        time.sleep(dice.uniform(0, 0.15))
        node.run()
        if kills % 5 == 4:
            if not order:
                order = dice.sample(sorted(known), len(known))
            name = order.pop()
            happened[name] += 1
            # Beside the next kills.
            threading.Thread(target=known[name]).start()
        if kills % 50 == 25:
            restart_database()
            happened["database restarted"] += 1
    return happened


def main():
    say(f"seed {SEED}; {NODES} web and {NODES} worker nodes, {PHOTOS} photos, {KILLS} kills; logs in {WORK}")
    contents = make_photos(PHOTOS)
    site = Site("cluster")
    webs = [Node("web", n, site) for n in range(NODES)]
    for web in webs:
        wait_for("the web nodes", 60, web.is_ready)
    nodes = webs + [Node("worker", n, site) for n in range(NODES)]
    port, _ = balancer(webs)
    token = site.create_event()
    listener = Listener(port, token)
    began = time.monotonic()
    watchers = [watch(port, n, "--once") for n in range(4)]
    happened = kill_and_disturb(site, nodes)
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(happened.items()))
    where = "in network namespaces" if site.net.real else "on loopback"
    say(f"{KILLS} kills ({sum(w.kills for w in webs)} of web nodes) of nodes {where} after {time.monotonic() - began:.0f} s; {kinds}")

    def at_rest():
        for node in nodes:
            node.keep()
        return all(watch.poll() is not None for watch in watchers) and site.sql("SELECT COUNT(*) FROM jobs") == "0"

    wait_for("everything sent and indexed", 600, at_rest)
    took = time.monotonic() - began
    assert [watch.returncode for watch in watchers] == [0] * 4, [watch.returncode for watch in watchers]
    found = audit(site, port, token, contents)
    open_uploads = site.sql("SELECT COUNT(*) FROM uploads WHERE complete = 0")
    wait_for("the listener's last entry", 30, lambda: sum(kind == "indexed" for kind, _, _ in listener.heard) >= PHOTOS)
    heard = [data for kind, _, data in listener.heard if kind == "indexed"]
    heard_twice = len(heard) - len(set(heard))
    said = ", ".join(f"{count} {what}" for what, count in found.items())
    say(f"{PHOTOS} photos in {took:.0f} s: {said}; {open_uploads} uploads unfinished; the listener broke {listener.breaks} times and heard "
        f"{len(set(heard))} once, {heard_twice} twice")
    assert not any(found.values()) and (heard_twice, len(set(heard))) == (0, PHOTOS)


try:
    main()
finally:
    clean_up()

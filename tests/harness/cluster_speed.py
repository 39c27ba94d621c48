"""Photos a second through web and worker nodes on PostgreSQL: ingest by 1, 2 and 4 web nodes with as many watchers, into one
event and into an event for each watcher, on an S3-compatible store and beside it on a folder that the nodes share; then
indexing with faces by 1, 2 and 4 worker processes of one thread each. Called by `tests/harness/run cluster-speed [photos=32]
[megapixels=12] [small=400] [rounds=3]`, which builds everything optimised; needs the folder of models and labelled faces
(FINDME_SHARED). Draws `ingest.svg` and `indexing.svg` into the folder that FINDME_PLOTS names.

Each round begins in a copy of the database as it was before the first, with a store that lacks what a round makes; the counts
take turns, so that whatever else the machine does falls on all of them. Beside each figure stands who had the cores.
"""

import os, shutil, statistics, subprocess, sys, time

from nodes import *
from plot import lines
from usage import Usage

SHARED = Path(os.environ.get("FINDME_SHARED", ROOT.parent / "shared"))
PHOTOS, MEGAPIXELS, SMALL, ROUNDS = number("photos", 32), number("megapixels", 12), number("small", 400), number("rounds", 3)
COUNTS = (1, 2, 4)
LATER = 1 << 62
CORES = os.cpu_count()


class Ask:
    """Questions to a database over one connection: a psql for each would take a core from what is measured."""

    def __init__(self, site):
        url = DATABASE.rsplit("/", 1)[0] + f"/{site.name}"
        self.psql = subprocess.Popen(["psql", url, "-AtqX"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     env={**os.environ, "PGOPTIONS": "-c statement_timeout=20000"})
        children.append(self.psql)

    def __call__(self, statement):
        self.psql.stdin.write(f"{statement};\n\\echo .\n")
        self.psql.stdin.flush()
        said = []
        while (line := self.psql.stdout.readline()) != ".\n":
            assert line, f"psql ended at: {statement}"
            said.append(line.rstrip("\n"))
        return "\n".join(said)

    def close(self):
        self.psql.stdin.close()
        self.psql.wait(timeout=20)


class Figures:
    """Rates of rounds with who had the cores meanwhile, by count. The first two parts are what a cluster's machines do."""

    def __init__(self, name, unit, parts):
        self.name, self.unit, self.parts = name, unit, parts
        self.rates, self.cores = {}, {}

    def add(self, count, rate, cores):
        self.rates.setdefault(count, []).append(rate)
        self.cores.setdefault(count, []).append(cores)

    def medians(self):
        return {count: statistics.median(rates) for count, rates in sorted(self.rates.items())}

    def report(self):
        for count, median in self.medians().items():
            rates = self.rates[count]
            mean = {part: statistics.fmean(cores[part] for cores in self.cores[count]) for part in self.cores[count][0]}
            parts = ", ".join(f"{part} {mean[part]:.2f}" for part in [*self.parts, "harness", "other"])
            cost, servers = (sum(mean[part] for part in which) / median for which in (self.parts, self.parts[:2]))
            say(f"{self.name}, {count} {self.unit}: {median:.3g} photos/s ({min(rates):.3g} to {max(rates):.3g}); {CORES - mean['idle']:.2f} of {CORES} "
                f"cores busy: {parts}; a photo takes {self.parts[0]} and database {servers * 1e3:.3g} core-ms, and with the rest of it "
                f"{cost * 1e3:.3g}, so that {CORES} cores end at {CORES / cost:.3g}/s{' (THE STAND-IN IS THE BOUND)' if mean['store'] > 0.85 else ''}")


def syncs():
    """Synced appends of 8 KiB a second: what commits one after another are bound by."""
    with open(WORK / "syncs", "wb") as file:
        began = time.monotonic()
        for _ in range(300):
            file.write(bytes(8192))
            file.flush()
            os.fdatasync(file.fileno())
        return 300 / (time.monotonic() - began)


def postmaster(site):
    return int((Path(site.sql("SHOW data_directory")) / "postmaster.pid").read_text().split()[0])


def wait_until_none(what, seconds, left):
    """When `left` of it has come to zero; looked at often."""
    end = time.monotonic() + seconds
    while left() > 0:
        if time.monotonic() > end:
            give_up(f"{what}: not within {seconds} s")
        time.sleep(0.03)
    return time.monotonic()


def ingest(site, run, count, tokens):
    """Photos a second from the first that is received to the last, with who had the cores."""
    webs = [Node("web", f"{run}-{n}", site) for n in range(count)]
    for web in webs:
        wait_for("the web nodes", 60, web.is_ready)
    port, nginx = balancer(webs, f"nginx-{run}")
    for n, photo in enumerate(sorted(WORK.glob("card-[0-3]/*.JPG"))):
        card = WORK / f"card-{run}-{n % count}"
        card.mkdir(exist_ok=True)
        os.link(photo, card / photo.name)
    ask = Ask(site)
    left = lambda: SMALL - int(ask("SELECT COUNT(*) FROM photos"))
    senders = [watch(port, f"{run}-{card}", "--jobs", "8", token=tokens[card % len(tokens)]) for card in range(count)]
    wait_for("a first photo", 60, lambda: left() < SMALL)
    began, first = time.monotonic(), left()
    usage = Usage({"nodes": [web.child.pid for web in webs], "database": [postmaster(site)], "store": [site.moto.pid],
                   "watchers": [sender.pid for sender in senders], "balancer": [nginx.pid]})
    took = wait_until_none("all photos", 600, left) - began
    cores = usage.end()
    ask.close()
    # The watchers would wait until everything is indexed, and nobody indexes.
    for child in [*senders, nginx]:
        child.terminate()
        child.wait(timeout=60)
    for node in webs:
        node.stop()
    for folder in [*WORK.glob(f"card-{run}-*"), *WORK.glob(f"web-{run}-*/")]:
        shutil.rmtree(folder)
    return first / took, cores


def all_ingest(site):
    files = ["token", "token-1", "token-2", "token-3"]
    tokens = [site.create_event(token_file=file) for file in files]
    make_photos(SMALL)
    known = {}
    for round in range(ROUNDS):
        for events, into in ((1, "one event"), (4, "an event for each")):
            for where in ("object store", "folder"):
                figures = known.setdefault((events, where), Figures(f"ingest, {into}, {where}", "web node(s) and watcher(s)", ["nodes", "database", "store", "watchers", "balancer"]))
                for count in COUNTS:
                    if events > 1 and count == 1:
                        continue  # is the same
                    run = f"i{round}{events}{where[0]}{count}"
                    folder = WORK / f"folder-{run}"
                    here = site.copy(run, folder if where == "folder" else f"s3://photos/{run}")
                    if where == "folder":
                        for token in tokens:  # as the one who creates an event does
                            for name in ("photos", "derived"):
                                (folder / name / token.split(".")[1]).mkdir(parents=True)
                    figures.add(count, *ingest(here, run, count, files[:events]))
                    here.drop()
                    shutil.rmtree(folder, ignore_errors=True)
                    forget(site, run)
    for (events, where), figures in known.items():
        if events > 1:  # one watcher has one event either way
            alone = known[1, where]
            for rate, cores in zip(alone.rates[1], alone.cores[1]):
                figures.add(1, rate, cores)
        figures.report()
    drawn = {f"{'one event' if events == 1 else 'event each'}, {where}": figures.medians() for (events, where), figures in known.items()}
    draw("ingest", f"Photos a second received, {CORES} cores", "web nodes and watchers", drawn)


def forget(site, prefix):
    """Removes all below a prefix from the object store; how much there was."""
    count = 0
    while keys := re.findall(r"<Key>([^<]+)</Key>", ask_moto(site.moto_port, "GET", f"/photos?list-type=2&prefix={prefix}/")):
        for key in keys:
            ask_moto(site.moto_port, "DELETE", f"/photos/{key}")
        count += len(keys)
    return count


def make_event(card):
    """Photos with faces."""
    made = WORK / "event"
    subprocess.run([sys.executable, SHARED / "tools" / "make_event.py", "--people", SHARED / "photos" / "lfw" / "identities", "--out", made,
                    "--seed", "7", "--strangers", "12", "--photos", str(PHOTOS), "--guests", "6", "--megapixels", str(MEGAPIXELS)],
                   check=True, stdout=subprocess.DEVNULL)
    (made / "photos").rename(card)


def index(site, run, count):
    """Photos a second from the moment that all are there for workers that wait, and who had the cores; faces found."""
    more = ["--models", SHARED / "models", "--workers", "1", "--metrics-listen", "127.0.0.1:0"]
    workers = [Node("worker", f"{run}-{n}", site, more=more) for n in range(count)]
    # Said when the models are loaded.
    wait_for("the workers", 120, lambda: all("metrics on" in (WORK / f"{worker.name}.log").read_text() for worker in workers))
    ask = Ask(site)
    usage = Usage({"workers": [worker.child.pid for worker in workers], "database": [postmaster(site)], "store": [site.moto.pid]})
    ask("UPDATE jobs SET run_after = 0")
    began = time.monotonic()
    ask("NOTIFY findme")
    took = wait_until_none("indexing", 900, lambda: int(ask("SELECT COUNT(*) FROM jobs"))) - began
    cores = usage.end()
    assert ask("SELECT COUNT(*) FROM photos WHERE state = 'indexed' AND index_runs = 1") == str(PHOTOS), "not all were indexed, once"
    faces = int(ask("SELECT COUNT(*) FROM faces"))
    ask.close()
    for worker in workers:
        worker.stop()
    return PHOTOS / took, cores, faces


def all_indexing(site):
    here = site.copy("received", "s3://photos/faces")
    make_event(WORK / "card-9")
    web = Node("web", 9, here)
    wait_for("the web node", 60, web.is_ready)
    port, _ = balancer([web], "nginx-9")
    sender = watch(port, 9)
    wait_for("the photos with faces", 600, lambda: here.sql("SELECT COUNT(*) FROM photos") == str(PHOTOS))
    sender.terminate()
    sender.wait(timeout=60)
    web.stop()
    assert here.sql("SELECT COUNT(*) FROM jobs") == str(PHOTOS), "somebody indexed"
    here.sql(f"UPDATE jobs SET run_after = {LATER}")
    figures, found = Figures("indexing with faces", "worker process(es) of one thread", ["workers", "database", "store"]), set()
    for round in range(ROUNDS):
        for count in COUNTS:
            run = f"x{round}{count}"
            copied = here.copy(run)
            rate, cores, faces = index(copied, run, count)
            figures.add(count, rate, cores)
            copied.drop()
            made = forget(site, "faces/derived")
            assert made == 3 * PHOTOS, f"{made} derivatives of {PHOTOS} photos: not everything was made anew"
            found.add(faces)
    figures.report()
    say(f"faces found in each round: {', '.join(map(str, sorted(found)))}")
    draw("indexing", f"Photos of {MEGAPIXELS} megapixels indexed a second, {CORES} cores", "worker processes of one thread", {"with faces": figures.medians()})


def draw(name, title, across, series):
    if folder := os.environ.get("FINDME_PLOTS"):
        Path(folder, f"{name}.svg").write_text(lines(title, across, "photos/s", series))


def main():
    say(f"{PHOTOS} photos of {MEGAPIXELS} megapixels with faces, {SMALL} small ones; {ROUNDS} rounds, medians; {CORES} cores; "
        f"{syncs():.0f} synced appends a second; the object store is a stand-in in Python (moto), which has one core at most; logs in {WORK}")
    site = Site("speed", disturbed=False)
    all_ingest(site)
    all_indexing(site)


try:
    main()
finally:
    clean_up()

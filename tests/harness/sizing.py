"""A simulation, not a measurement: evenings of 1, 100 and 1,000 events at once, second by second, against what one photo
was measured to cost. Called by `tests/harness/run sizing [seed=1]`. Prints tables in Markdown (those of `deploy/SIZING.md`)
and draws `sizing.svg` into the folder that FINDME_PLOTS names.

Arrivals: each event brings 10,000 photos in 6 hours in bursts of eight frames on average, and all events have their best hour
at the same time, when they bring two and a half times the mean.
"""

import os, random, sys
from pathlib import Path

from plot import lines

# Assumed of an event: photos, hours, bytes of an original and of what is made of it, guests, who listen and who search.
PHOTOS, HOURS, FRAMES, PEAK = 10_000, 6, 8, 2.5
ORIGINAL, PREVIEW, THUMB = 7.7e6, 0.24e6, 0.02e6
GUESTS, LISTENERS, SEARCHES = 500, 300, 500
# Assumed of its guests: how often a new photo's thumbnail and preview are looked at.
THUMB_VIEWS, PREVIEW_VIEWS = 30, 5

# Measured on two cores: what each costs.
INDEX_CORE_S = 0.228  # a photo of 24 megapixels, decoding to embedding (tests/harness/run faces)
INGEST_CORE_S = 1 / 500  # a small photo through a web node (small); its bytes come on top:
BYTES_PER_CORE_S = 400e6  # received, hashed, sent on (speed)
SELFIE_CORE_S = 0.08  # a selfie to its answer (README)
LISTENER_BYTES = 20e3  # of memory (listeners)
COMMITS = {"upload": 3, "claim, in batches": 0.25, "result": 1}  # transactions a photo: created, bytes there, finished; indexed
DATABASE_COMMITS = 1600  # a second, of a server on the two cores of the test machine: 823 jobs of two each, 16 at once (pgbench)
WAL_BYTES = 12e3  # a photo; assumed
STORE_REQUESTS = {"put": 3, "get": 3}  # original, preview, thumbnail; read once, looked for twice

# Machines that are counted in.
WORKER_CORES, WEB_CORES, WEB_BYTES, USE = 16, 8, 1.25e9, 0.6  # 10 Gbit/s; no more than so much of anything is planned with


# The least busy moment, so that the mean is 1: a triangle of two hours to either side is a third of its height on average.
FLOOR = (1 - PEAK / 3) / (1 - 1 / 3)


def shape(second):
    """How busy the evening is, 1 on average and PEAK in its middle: calm, a rise, the best hour, a fall, calm."""
    return FLOOR + (PEAK - FLOOR) * max(0, 1 - abs(second / 3600 - HOURS / 2) / 2)


def arrivals(events, dice):
    """Photos in each second."""
    mean = events * PHOTOS / HOURS / 3600
    came = []
    for second in range(HOURS * 3600):
        bursts = poisson(mean * shape(second) / FRAMES, dice)
        frames = 0
        for _ in range(bursts):
            frames += 1
            while dice.random() > 1 / FRAMES:
                frames += 1
        came.append(frames)
    return came


def poisson(mean, dice):
    if mean > 50:
        return max(0, round(dice.gauss(mean, mean ** 0.5)))
    limit, product, count = 2.718281828459045 ** -mean, dice.random(), 0
    while product > limit:
        product *= dice.random()
        count += 1
    return count


def waits(came, rate):
    """The queue at so many photos a second: share indexed within 2 s and 10 s of arrival when the newest go first, the most
    that wait, and the minutes until none waits after the end."""
    stack, most, soon, fair, total, credit, second = [], 0, 0, 0, 0, 0.0, 0
    while second < len(came) or stack:
        new = came[second] if second < len(came) else 0
        if new:
            stack.append([second, new])
        credit = min(credit + rate, rate + 1)
        while credit >= 1 and stack:
            at, count = stack[-1]
            done = min(count, int(credit))
            credit -= done
            total += done
            soon += done * (second - at <= 2)
            fair += done * (second - at <= 10)
            stack[-1][1] -= done
            if stack[-1][1] == 0:
                stack.pop()
        most = max(most, sum(count for _, count in stack)) if second % 10 == 0 else most
        second += 1
    return soon / total, fair / total, most, max(0, second - len(came)) / 60


def up(x):
    return max(1, int(-(-x // 1)))


def size(events, dice):
    """One column of the table, and the arrivals."""
    came = arrivals(events, dice)
    mean = sum(came) / len(came)
    minutes = [sum(came[at:at + 60]) / 60 for at in range(0, len(came), 60)]
    peak, second = max(minutes), max(came)
    cores = peak * INDEX_CORE_S / USE
    workers = up(cores / WORKER_CORES) if events > 1 else 0
    rate = workers * WORKER_CORES / INDEX_CORE_S if workers else 4 / INDEX_CORE_S
    soon, fair, most, after = waits(came, rate)
    stream = peak * (2 * ORIGINAL + PREVIEW + THUMB)  # in, and on to the store
    views = peak * (THUMB_VIEWS * THUMB + PREVIEW_VIEWS * PREVIEW)
    searches = events * SEARCHES / HOURS / 3600 * 10  # ten times the mean, when a QR code is shown
    web_cores = (peak * INGEST_CORE_S + stream / BYTES_PER_CORE_S + views / BYTES_PER_CORE_S + searches * SELFIE_CORE_S) / USE
    webs = max(up(web_cores / WEB_CORES), up((stream + views) / 2 / WEB_BYTES / USE), 2 if events > 1 else 1)
    commits = peak * sum(COMMITS.values())
    return came, {
        "photos a second: mean, best minute, worst second": f"{mean:,.1f}, {peak:,.0f}, {second:,}",
        "bytes in, best minute": f"{peak * ORIGINAL * 8 / 1e9:,.2f} Gbit/s",
        "stored in an evening": f"{sum(came) * (ORIGINAL + PREVIEW + THUMB) / 1e12:,.2f} TB",
        "cores that index, at 60 % in the best minute": f"{cores:,.0f}",
        f"worker nodes of {WORKER_CORES} cores": f"{workers}" if workers else "none: one machine of 4 cores does all",
        "indexed within 2 s, within 10 s": f"{soon:.1%}, {fair:.1%}",
        "most that wait; minutes to none after the end": f"{most:,}; {after:,.0f}",
        f"web nodes of {WEB_CORES} cores and 10 Gbit/s": f"{webs}" if events > 1 else "the same machine",
        "listeners; memory for them": f"{events * LISTENERS:,}; {events * LISTENERS * LISTENER_BYTES / 1e9:,.1f} GB",
        "selfies a second at worst; cores": f"{searches:,.1f}; {searches * SELFIE_CORE_S:,.1f}",
        "database: commits a second, best minute": f"{commits:,.0f}",
        "database: log written, best minute": f"{peak * WAL_BYTES / 1e6:,.1f} MB/s",
        "store: requests a second, put and get": f"{peak * STORE_REQUESTS['put']:,.0f}, {peak * STORE_REQUESTS['get'] + (views and peak * (THUMB_VIEWS + PREVIEW_VIEWS)):,.0f}",
    }


def breaks():
    """Of how many events each part is the end, when nothing else is."""
    peak = PHOTOS / HOURS / 3600 * PEAK  # of one event
    return sorted([
        (DATABASE_COMMITS / (peak * sum(COMMITS.values())), f"commits of one database like the test machine's ({DATABASE_COMMITS:,}/s on two cores)"),
        (10_000 / (peak * sum(COMMITS.values())), "commits of one database with fast disks (10,000/s, assumed)"),
        (3_500 / (peak * STORE_REQUESTS["put"]), "writes of one S3 partition (3,500/s; events are prefixes, so a store may split them)"),
        (12.5e9 * USE / (peak * ORIGINAL), "100 Gbit/s into one site, 60 % used"),
        (20 * WEB_BYTES * USE / (peak * (2 * ORIGINAL + PREVIEW) / 2), "20 web nodes' network of 10 Gbit/s, 60 % used"),
        (32 * WORKER_CORES * USE / (peak * INDEX_CORE_S), f"32 worker nodes of {WORKER_CORES} cores, 60 % used"),
        (64e9 / (40_000 * 260), "64 GB of galleries on one web node, all events searched (fewer are let go and read again)"),
    ])


def main():
    dice = random.Random(int(dict(word.split("=") for word in sys.argv[1:] if "=" in word).get("seed", 1)))
    columns = {events: size(events, dice) for events in (1, 100, 1000)}
    print("| | " + " | ".join(f"{events:,} event{'s' * (events > 1)}" for events in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for row in columns[1][1]:
        print(f"| {row} | " + " | ".join(facts[row] for _, facts in columns.values()) + " |")
    print("\n| events at once | what ends there |\n|---|---|")
    for events, what in breaks():
        print(f"| {events:,.0f} | {what} |")
    if folder := os.environ.get("FINDME_PLOTS"):
        came = columns[1000][0]
        series = {"photos that come": {at / 3600: sum(came[at:at + 300]) / 300 for at in range(0, len(came), 300)}}
        for nodes in (12, 24, 48):
            series[f"{nodes} worker nodes"] = {0: nodes * WORKER_CORES / INDEX_CORE_S, HOURS: nodes * WORKER_CORES / INDEX_CORE_S}
        Path(folder, "sizing.svg").write_text(lines("1,000 events at once (simulated)", "hours", "photos/s", series, wide=True))


main()

"""The queue alone: jobs a second with an engine that does nothing, by the program's own claims and results, on PostgreSQL
(`server/examples/queue.rs`), and whether partitions of the table of jobs by event would pay, with pgbench. Called by
`tests/harness/run cluster-queue [jobs=2000]` inside `tests/on-postgres`. Draws `queue.svg` into the folder that FINDME_PLOTS names.
"""

import os, re

from nodes import BIN, DATABASE, WORK, Path, clean_up, number, say, subprocess
from plot import lines

JOBS = number("jobs", 2000)


def psql(statement, name="postgres", quiet=True):
    url = DATABASE.rsplit("/", 1)[0] + f"/{name}"
    return subprocess.run(["psql", url, "-AtX", "-c", statement], check=True, capture_output=True, text=True).stdout.strip()


def through_the_program():
    for claimers in (1, 4, 16):
        for events in (1, 64):
            for batch in (1, 4, 16):
                psql(f"CREATE DATABASE queue_{claimers}_{events}_{batch}")
    done = subprocess.run([BIN / "queue", str(JOBS), DATABASE.rsplit("/", 1)[0] + "/queue"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    series = {}
    for line in done.stdout.splitlines()[1:]:
        claimers, events, batch, rate = map(int, line.split())
        say(f"{claimers:2} claimers, {events:2} events, {batch:2} leased at once: {rate} jobs/s")
        series.setdefault(f"{events} event{'s' * (events > 1)}, {batch} at once", {})[claimers] = rate
    return series


def partitions():
    """The same claim on one table and on sixteen partitions by event: 20,000 jobs of 1,000 events wait."""
    psql("CREATE DATABASE partitions")
    columns = "photo bigint, event bytea NOT NULL, waiting bigint DEFAULT 0, attempts bigint DEFAULT 0, run_after bigint DEFAULT 0, lease bytea, lease_until bigint DEFAULT 0"
    claim = (WORK / "claim.sql")
    for table, kind in (("plain", ""), ("parted", "PARTITION BY HASH (event)")):
        psql(f"CREATE TABLE {table} ({columns}) {kind}", "partitions")
        if kind:
            for n in range(16):
                psql(f"CREATE TABLE {table}_{n} PARTITION OF {table} FOR VALUES WITH (MODULUS 16, REMAINDER {n})", "partitions")
        psql(f"CREATE INDEX ON {table} (waiting, attempts, photo DESC); CREATE INDEX ON {table} (photo)", "partitions")
        fill = f"INSERT INTO {table} (photo, event) SELECT n, decode(md5((n % 1000)::text), 'hex') FROM generate_series(1, 20000) AS n"
        pick = f"SELECT photo FROM {table} WHERE waiting = 0 AND run_after <= 1 AND lease_until <= 1 ORDER BY attempts, photo DESC LIMIT 1 FOR UPDATE SKIP LOCKED"
        psql(f"{fill}; ANALYZE {table}", "partitions")
        plan = psql(f"EXPLAIN (ANALYZE, COSTS OFF) {pick}", "partitions")
        took = re.search(r"Execution Time: ([\d.]+)", plan).group(1)
        planned = re.search(r"Planning Time: ([\d.]+)", plan).group(1)
        scans = plan.count("Index Scan") + plan.count("Index Only Scan")
        claim.write_text(f"WITH picked AS MATERIALIZED ({pick}) DELETE FROM {table} WHERE photo IN (SELECT photo FROM picked);\n")
        rates = []
        for clients in (1, 16):
            url = DATABASE.rsplit("/", 1)[0] + "/partitions"
            # So many that none finds the table empty, which costs nothing.
            psql(f"TRUNCATE {table}; {fill}; ANALYZE {table}", "partitions")
            done = subprocess.run(["pgbench", "-n", "-M", "prepared", "-f", claim, "-c", str(clients), "-j", "2", "-t", str(9600 // clients), url],
                                  capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            rates.append(f"{clients} claimers {float(re.search(r'tps = ([0-9.]+)', done.stdout).group(1)):.0f}/s")
        say(f"{table}: {', '.join(rates)}; picking the newest job reads {scans} indexes, {planned} ms to plan, {took} ms to run")


def main():
    series = through_the_program()
    partitions()
    if folder := os.environ.get("FINDME_PLOTS"):
        Path(folder, "queue.svg").write_text(lines("The queue alone, on PostgreSQL", "processes that claim", "jobs/s", series))


try:
    main()
finally:
    clean_up()

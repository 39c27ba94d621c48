"""Who has the machine's cores, from /proc: so many cores' worth of time for each part of a run, for everything else that
runs on the machine, and for nobody.
"""

import os, time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def processes():
    """Each process's parent, and the seconds that it and its children that ended have had."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name may hold spaces and brackets.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15])) / TICK
    return found


def seconds_of(roots, found):
    """What these processes and all below them have had."""
    below = {}
    for pid, (parent, _) in found.items():
        below.setdefault(parent, []).append(pid)
    total, left = 0.0, list(roots)
    while left:
        pid = left.pop()
        total += found.get(pid, (0, 0.0))[1]
        left += below.get(pid, [])
    return total


def machine():
    """Seconds of all cores that somebody had, and that nobody had."""
    fields = [int(field) / TICK for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, idle


class Usage:
    """From here to `end`, of parts that are named with their processes, which live until then."""

    def __init__(self, parts):
        self.parts, self.began, self.at = parts, time.monotonic(), self.now(parts)

    @staticmethod
    def now(parts):
        found, (busy, idle) = processes(), machine()
        ours = os.times()
        return {**{name: seconds_of(pids, found) for name, pids in parts.items()}, "harness": ours.user + ours.system, "busy": busy, "idle": idle}

    def end(self):
        """Cores' worth of each part, of `other` programs (and the kernel on nobody's account), and of `idle`."""
        took, now = time.monotonic() - self.began, self.now(self.parts)
        cores = {name: (now[name] - self.at[name]) / took for name in now}
        busy = cores.pop("busy")
        idle = cores.pop("idle")
        return {**cores, "other": max(busy - sum(cores.values()), 0.0), "idle": idle}

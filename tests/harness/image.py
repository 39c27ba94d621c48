#!/usr/bin/env python3
"""Runs the steps of deploy/Containerfile without a container engine: each stage in a bare Debian made by debootstrap, in
namespaces of its own, as root. What the engine would add is stated here and nowhere else:

* the base image of the build stage is a bare Debian with a C compiler, and this machine's Rust mounted into it;
* the finished image is started as compose.yaml does: without capabilities, its root read-only, /data its own.

    image.py WORKDIR    works in that folder (5 GB), leaves it when it fails, removes it when all went well
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
HOME = Path.home()


def run(command, **options):
    print("+", " ".join(map(str, command)), flush=True)
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, **options)


def steps(text):
    """Instruction and argument of each step; a comment, and a line's end in a backslash, are no steps."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in whole.splitlines() if line.strip()]


class Stage:
    """A file system that steps are done in."""

    def __init__(self, root, image):
        self.root, self.image, self.folder, self.user, self.environment = root, image, "/", None, {}
        self.entrypoint = []
        packages = ["--include=gcc,libc6-dev"] if "rust" in image else []
        run(["debootstrap", "--variant=minbase", *packages, "bookworm", root], stdout=subprocess.DEVNULL)
        for name in ["resolv.conf", "hosts"]:
            shutil.copy(Path("/etc") / name, root / "etc" / name)
        shutil.copytree("/etc/apt", root / "etc/apt", dirs_exist_ok=True)
        run(["mount", "-t", "proc", "proc", root / "proc"])
        if packages:
            cargo = Path(os.environ.get("CARGO_HOME", HOME / ".cargo"))
            self.lend("usr/local/rustup", Path(os.environ.get("RUSTUP_HOME", HOME / ".rustup")))
            self.lend("usr/local/cargo/bin", cargo / "bin")
            # Cargo takes a lock and unpacks there.
            self.lend("usr/local/cargo/registry", cargo / "registry", writable=True)
            self.environment |= {"RUSTUP_HOME": "/usr/local/rustup", "CARGO_HOME": "/usr/local/cargo"}

    def lend(self, where, what, writable=False):
        target = self.root / where
        target.mkdir(parents=True)
        run(["mount", "--bind", what, target])
        if not writable:
            run(["mount", "-o", "remount,bind,ro", target])

    def variables(self):
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/cargo/bin"
        return {"PATH": path, "HOME": "/root", **self.environment}

    def inside(self, line):
        script = f"cd {self.folder} && {line}"
        run(["chroot", self.root, "/bin/sh", "-c", script], env=self.variables())


def follow(all_steps, work):
    """Does the steps; the last stage."""
    stages, now = {}, None
    for number, (word, argument) in enumerate(all_steps):
        print(f"== {word} {argument}", flush=True)
        if word == "FROM":
            image, _, name = re.match(r"(\S+)(\s+AS\s+(\S+))?", argument).groups()
            now = stages[name] = Stage(work / f"stage-{len(stages)}", image)
        elif word == "WORKDIR":
            now.folder = argument
            (now.root / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY" and argument.startswith("--from="):
            stage, source, target = re.match(r"--from=(\S+)\s+(\S+)\s+(\S+)", argument).groups()
            shutil.copy2(stages[stage].root / source.lstrip("/"), now.root / target.lstrip("/"))
        elif word == "COPY":
            # What a clone has; an engine would leave out what .dockerignore names.
            archive = subprocess.Popen(["git", "-C", TOP, "archive", "HEAD"], stdout=subprocess.PIPE)
            run_in = now.root / now.folder.lstrip("/")
            subprocess.run(["tar", "-x", "-C", run_in], stdin=archive.stdout, check=True)
            assert archive.wait() == 0
        elif word == "RUN":
            now.inside(argument)
        elif word == "USER":
            now.user = argument
        elif word == "ENV":
            now.environment |= dict(pair.split("=", 1) for pair in argument.split())
        elif word == "ARG":
            name, value = argument.split("=", 1)
            now.environment.setdefault(name, value.strip('"'))
        elif word == "ENTRYPOINT":
            now.entrypoint = json.loads(argument)
        elif word not in ("VOLUME", "EXPOSE"):
            raise SystemExit(f"step {number}: {word} is not known here")
    return now


def start(stage, network, arguments, **options):
    """The entry point as compose.yaml starts it, in a network of its own."""
    number = subprocess.check_output(["chroot", stage.root, "id", "-u", stage.user], text=True).strip()
    user = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "--no-new-privs"]
    user += ["--bounding-set=-all", "--inh-caps=-all", "--"]
    command = ["ip", "netns", "exec", network, "chroot", stage.root, *user, *stage.entrypoint, *arguments]
    return subprocess.Popen(command, env=stage.variables(), stdin=subprocess.DEVNULL, text=True, **options)


def ask(network, method, path, token=None, body=None):
    """One request from inside the network: status and answer."""
    program = """
import sys, urllib.request
method, url, token, body = sys.argv[1:5]
request = urllib.request.Request(url, method=method, data=body.encode() or None)
if token: request.add_header("authorization", "Bearer " + token)
if body:
    for pair in ["tus-resumable: 1.0.0", f"upload-length: {len(body)}", "content-type: application/offset+octet-stream"]:
        request.add_header(*pair.split(": "))
answer = urllib.request.urlopen(request, timeout=10)
print(answer.status, answer.headers.get("findme-photo"), answer.read().decode())
"""
    url = f"http://127.0.0.1:8420{path}"
    command = ["ip", "netns", "exec", network, sys.executable, "-c", program, method, url, token or "", body or ""]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def try_out(stage):
    """Creates an event before the first start, serves, takes a photo, ends in time; all as an operator would."""
    network = f"findme-{uuid.uuid4().hex[:8]}"
    run(["ip", "netns", "add", network])
    try:
        run(["ip", "-n", network, "link", "set", "lo", "up"])
        run(["mount", "--bind", stage.root, stage.root])
        run(["mount", "--bind", stage.root / "data", stage.root / "data"])
        run(["mount", "-o", "remount,bind,ro", stage.root])
        created = start(stage, network, ["event", "create", "First event"], stdout=subprocess.PIPE)
        said = created.communicate(timeout=60)[0]
        assert created.returncode == 0, said
        token = re.search(r"fmp\.\S+", said).group()
        server = start(stage, network, [])
        try:
            deadline = time.monotonic() + 60
            while ask(network, "GET", "/livez").returncode != 0:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.2)
            sent = ask(network, "POST", "/api/uploads", token, "no photo, but bytes all the same")
            assert sent.stdout.startswith("201 ") and "None" not in sent.stdout, sent
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=60) == 0
        finally:
            if server.poll() is None:
                server.kill()
        owners = {path.stat().st_uid for path in (stage.root / "data").rglob("*")}
        assert len(owners) == 1 and 0 not in owners, owners
        run(["umount", stage.root / "data"])
        run(["umount", stage.root])
    finally:
        run(["ip", "netns", "del", network])


def main():
    work = Path(sys.argv[1])
    work.mkdir(parents=True)
    began = time.monotonic()
    stage = follow(steps((TOP / "deploy/Containerfile").read_text()), work)
    built = time.monotonic() - began
    try_out(stage)
    binary = stage.root / "usr/local/bin/findme-server"
    size = subprocess.check_output(["du", "-sxm", stage.root], text=True).split()[0]
    print(f"image: every step ran, {built:.0f} s; {size} MB, the server {binary.stat().st_size / 1e6:.1f} MB of them; an event")
    print("created, a photo taken, ended in time, without capabilities and with its root read-only")


def remove(work):
    """Removes what the run left. Only outside its mount namespace, where what was lent cannot be reached through it."""
    table = Path("/proc/self/mountinfo").read_text()
    assert f" {work.resolve()}/" not in table, f"something is mounted below {work}"
    shutil.rmtree(work)


if __name__ == "__main__":
    # A mount namespace of its own: whatever happens, no mount outlives the run.
    if os.environ.get("FINDME_IMAGE_INSIDE"):
        main()
    else:
        inside = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, *sys.argv[1:]]
        subprocess.run(inside, check=True, env=os.environ | {"FINDME_IMAGE_INSIDE": "1"})
        remove(Path(sys.argv[1]))

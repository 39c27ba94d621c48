"""Many machines, as processes of this one: web and worker nodes on PostgreSQL and an S3-compatible store behind a balancer,
killed at random while watchers upload. Called by `tests/harness/run cluster [kills=200] [photos=2000] [nodes=3]`, inside
`tests/on-postgres`; needs nginx, Pillow and moto (which it installs into a folder of its own).

Promises that end the run when they are broken: 0 photos lost, 0 twice, 0 damaged, each indexed once, and a listener who
reconnects hears of each once.
"""

import hashlib, http.client, json, os, random, re, signal, socket, subprocess, sys, tempfile, threading, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = dict(word.split("=") for word in sys.argv[2:] if "=" in word)
KILLS, PHOTOS, NODES = (int(NUMBERS.get(key, default)) for key, default in (("kills", 200), ("photos", 2000), ("nodes", 3)))
SEED = int(os.environ.get("FINDME_SEED", random.SystemRandom().randrange(1 << 32)))
dice = random.Random(SEED)
BIN = Path(sys.argv[1])
WORK = Path(tempfile.mkdtemp(prefix="cluster-"))
DATABASE = os.environ["FINDME_TEST_DATABASE"]
children = []


def say(text):
    print(f"cluster: {text}", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(words, name, env=None):
    log = open(WORK / f"{name}.log", "ab")
    child = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    children.append(child)
    return child


def wait_for(what, seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"cluster: {what}: not within {seconds} s; logs in {WORK}")


class Line:
    """A line to an engine that can be cut: connections that go through it break, and new ones are refused."""

    def __init__(self, target):
        self.target, self.port, self.open, self.live = target, free_port(), True, set()
        listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            near, _ = listener.accept()
            if not self.open:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            pair = (near, far)
            self.live.add(pair)
            for one, other in (pair, pair[::-1]):
                threading.Thread(target=self.pump, args=(one, other, pair), daemon=True).start()

    def pump(self, one, other, pair):
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
        except OSError:
            pass
        self.end(pair)

    def end(self, pair):
        self.live.discard(pair)
        for side in pair:
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            side.close()

    def cut(self, seconds):
        self.open = False
        for pair in list(self.live):
            self.end(pair)
        time.sleep(seconds)
        self.open = True


def moto():
    venv = Path.home() / ".cache" / "findme-moto"
    if not (venv / "bin" / "moto_server").exists():
        say("installing moto")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "-q", "moto[s3,server]"], check=True)
    port = free_port()
    start([venv / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)], "moto")
    wait_for("the object store", 30, lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/photos", method="PUT", headers={"Authorization": "AWS4-HMAC-SHA256 Credential=test/20300101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"})
    urllib.request.urlopen(request)
    return port


class Node:
    def __init__(self, role, number, database, store):
        self.name, self.role = f"{role}-{number}", role
        self.port = free_port()
        self.data = WORK / self.name
        self.database, self.store, self.child, self.kills = database, store, None, 0
        self.run()

    def run(self):
        words = [BIN / "findme-server", "serve", "--role", self.role, "--data", self.data, "--faces", "off", "--workers", "1",
                 "--database", self.database, "--photos", "s3://photos/party", "--keys", WORK / "keys", "--disk-reserve", "0",
                 "--trusted-proxy", "127.0.0.1"]
        if self.role == "web":
            words += ["--listen", f"127.0.0.1:{self.port}"]
        self.child = start(list(map(str, words)), self.name, self.store)

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.kills += 1

    def keep(self):
        """As a service manager does."""
        if self.child.poll() is not None:
            self.run()

    def is_ready(self):
        self.keep()
        return self.role != "web" or urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status == 200


def balancer(webs):
    port = free_port()
    servers = "\n".join(f"        server 127.0.0.1:{web.port} max_fails=1 fail_timeout=1s;" for web in webs)
    (WORK / "nginx.conf").write_text(f"""
worker_processes 1; daemon off; pid {WORK}/nginx.pid; error_log {WORK}/nginx.log crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 0;
    client_body_temp_path {WORK}/nginx-body; proxy_temp_path {WORK}/nginx-proxy; fastcgi_temp_path {WORK}/nginx-f;
    uwsgi_temp_path {WORK}/nginx-u; scgi_temp_path {WORK}/nginx-s;
    upstream nodes {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://nodes; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr; proxy_request_buffering off; proxy_buffering off;
            proxy_connect_timeout 2s; proxy_read_timeout 60s; proxy_next_upstream error timeout;
        }}
    }}
}}
""")
    start(["nginx", "-p", str(WORK), "-c", str(WORK / "nginx.conf")], "nginx")
    return port


def photos():
    from PIL import Image
    contents = {}
    for n in range(PHOTOS):
        folder = WORK / f"card-{n % 4}"
        folder.mkdir(exist_ok=True)
        path = folder / f"DSC_{n:05}.JPG"
        # Some are larger than a piece of the object store.
        size = (320, 240) if n % 200 else (2600, 1800)
        noise = Image.frombytes("L", (size[0] // 4, size[1] // 4), random.Random(SEED + n).randbytes(size[0] // 4 * (size[1] // 4)))
        Image.merge("RGB", [noise.resize(size)] * 3).save(path, quality=92 if n % 200 else 100)
        contents[hashlib.sha256(path.read_bytes()).hexdigest()] = path
    return contents


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


def sql(statement):
    done = subprocess.run(["psql", DATABASE.rsplit("/", 1)[0] + "/cluster", "-Atc", statement], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def restart_database():
    subprocess.run(os.environ["FINDME_TEST_PG_RESTART"].split(), check=True, stdout=subprocess.DEVNULL)


def main():
    say(f"seed {SEED}; {NODES} web and {NODES} worker nodes, {PHOTOS} photos, {KILLS} kills; logs in {WORK}")
    contents = photos()
    assert len(contents) == PHOTOS, "two made photos are equal"
    subprocess.run(["psql", DATABASE, "-qc", "CREATE DATABASE cluster"], check=True)
    database_line = Line(int(re.search(r":(\d+)/", DATABASE).group(1)))
    store_port = moto()
    store_line = Line(store_port)
    database = DATABASE.rsplit("/", 1)[0].rsplit(":", 1)[0] + f":{database_line.port}/cluster"
    store = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
             "AWS_ENDPOINT": f"http://127.0.0.1:{store_line.port}", "AWS_ALLOW_HTTP": "true", "FINDME_LOG": "warn"}
    webs = [Node("web", n, database, store) for n in range(NODES)]
    for web in webs:
        wait_for("the web nodes", 60, web.is_ready)
    nodes = webs + [Node("worker", n, database, store) for n in range(NODES)]
    port = balancer(webs)
    wait_for("the balancer", 10, lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/livez").status == 200)
    made = subprocess.run([BIN / "findme-server", "event", "create", "party", "--data", WORK / "desk", "--database", database, "--photos", "s3://photos/party",
                           "--keys", WORK / "keys"], capture_output=True, text=True, env={**os.environ, **store})
    assert made.returncode == 0, made.stderr
    token = re.search(r"fmp\.\S+", made.stdout).group(0)
    event = token.split(".")[1]
    (WORK / "token").write_text(token)
    os.chmod(WORK / "token", 0o600)
    listener = Listener(port, token)
    began = time.monotonic()
    watchers = [start([str(BIN / "findme-watch"), "--once", "--server", f"http://127.0.0.1:{port}", "--token-file", str(WORK / "token"),
                       "--manifest", str(WORK / f"manifest-{n}"), "--output", "plain", "--preview", "never", "--give-up", "600", str(WORK / f"card-{n}")], f"watch-{n}")
                for n in range(4)]
    cuts = restarts = kills = 0
    while kills < KILLS:
        # Spread over the upload: not all before it has begun, nor after its end.
        share = PHOTOS * kills // (KILLS + 1)
        deadline = time.monotonic() + 120
        while True:
            for node in nodes:
                node.keep()
            try:
                if int(sql("SELECT COUNT(*) FROM photos WHERE state = 'indexed'") or 0) >= share:
                    break
            except subprocess.CalledProcessError:
                pass
            if time.monotonic() > deadline:
                raise SystemExit(f"cluster: no progress after {kills} kills; logs in {WORK}")
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 0.1))
        node = dice.choice(nodes)
        node.kill()
        kills += 1
        time.sleep(dice.uniform(0, 0.15))
        node.run()
        if kills % 10 == 5:
            (database_line if cuts % 2 else store_line).cut(dice.uniform(0.2, 1.5))
            cuts += 1
        if kills % 50 == 25:
            restart_database()
            restarts += 1
    say(f"{kills} kills ({sum(w.kills for w in webs)} of web nodes), {cuts} cuts, {restarts} database restarts after {time.monotonic() - began:.0f} s")

    def at_rest():
        for node in nodes:
            node.keep()
        return all(watch.poll() is not None for watch in watchers) and sql("SELECT COUNT(*) FROM jobs") == "0"

    wait_for("everything sent and indexed", 600, at_rest)
    took = time.monotonic() - began
    assert [watch.returncode for watch in watchers] == [0] * 4, [watch.returncode for watch in watchers]
    rows = dict(line.split("|") for line in sql("SELECT encode(digest, 'hex'), encode(id, 'hex') FROM photos").splitlines())
    lost, more = len(contents.keys() - rows.keys()), len(rows.keys() - contents.keys())
    twice = int(sql("SELECT COUNT(*) - COUNT(DISTINCT digest) FROM photos"))
    again = int(sql("SELECT COUNT(*) FROM photos WHERE index_runs <> 1 OR state <> 'indexed'"))
    told = int(sql("SELECT COUNT(*) FROM (SELECT photo FROM live WHERE kind = 'indexed' GROUP BY photo HAVING COUNT(*) <> 1) AS t"))
    open_uploads = int(sql("SELECT COUNT(*) FROM uploads WHERE complete = 0"))
    damaged = 0
    for digest, photo in rows.items():
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/photo/{photo}", headers={"Authorization": f"Bearer {token}"})
        damaged += hashlib.sha256(urllib.request.urlopen(request).read()).hexdigest() != digest
    wait_for("the listener's last entry", 30, lambda: sum(kind == "indexed" for kind, _, _ in listener.heard) >= PHOTOS)
    heard = [data for kind, _, data in listener.heard if kind == "indexed"]
    heard_twice = len(heard) - len(set(heard))
    say(f"{PHOTOS} photos in {took:.0f} s: {lost} lost, {twice + more} twice, {damaged} damaged, {again} not indexed exactly once, "
        f"{told} not announced exactly once, {open_uploads} uploads unfinished; the listener broke {listener.breaks} times and heard "
        f"{len(set(heard))} once, {heard_twice} twice")
    assert (lost, more, twice, damaged, again, told, heard_twice, len(set(heard))) == (0, 0, 0, 0, 0, 0, 0, PHOTOS)


try:
    main()
finally:
    for child in children:
        if child.poll() is None:
            child.kill()

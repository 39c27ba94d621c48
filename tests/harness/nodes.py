"""What the runs of many machines are made of (`cluster.py` and those beside it): nodes as processes, in network namespaces
of their own where that is allowed, lines to PostgreSQL and to an S3-compatible store that can be disturbed, a balancer,
photos. Everything ends with the run, and its folder goes when it went well.
"""

import copy, hashlib, os, random, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time, urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = dict(word.split("=") for word in sys.argv[2:] if "=" in word)
SEED = int(os.environ.get("FINDME_SEED", random.SystemRandom().randrange(1 << 32)))
BIN = Path(sys.argv[1])
WORK = Path(tempfile.mkdtemp(prefix="cluster-"))
DATABASE = os.environ.get("FINDME_TEST_DATABASE", "")
children, undo = [], []


def number(name, default):
    return int(NUMBERS.get(name, default))


def say(text):
    print(f"{Path(sys.argv[0]).stem}: {text}", flush=True)


def give_up(text):
    raise SystemExit(f"{Path(sys.argv[0]).stem}: {text}; logs in {WORK}")


def free_port(host="127.0.0.1"):
    with socket.socket() as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def start(words, name, env=None):
    log = open(WORK / f"{name}.log", "ab")
    child = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    children.append(child)
    return child


def clean_up():
    for child in children:
        if child.poll() is None:
            child.kill()
    for child in children:
        child.wait()
    for words in reversed(undo):
        subprocess.run(words, stderr=subprocess.DEVNULL)
    if sys.exc_info()[0] is None:  # else its logs are looked at
        shutil.rmtree(WORK)


def wait_for(what, seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (OSError, subprocess.CalledProcessError):
            pass
        time.sleep(0.05)
    give_up(f"{what}: not within {seconds} s")


class Line:
    """A line to an engine, with everything that goes wrong on lines. Connections that go through it are two sockets."""

    def __init__(self, target, host="127.0.0.1"):
        self.target, self.host, self.port, self.live = target, host, free_port(host), set()
        self.mode, self.flowing = "open", threading.Event()
        self.flowing.set()
        listener = socket.create_server((host, self.port), backlog=256)
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            near, _ = listener.accept()
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        if self.mode == "cut":
            return near.close()
        if self.mode == "failing":
            return self.answer_503(near)
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            return near.close()
        pair = (near, far)
        self.live.add(pair)
        threading.Thread(target=self.pump, args=(near, far, pair, False), daemon=True).start()
        self.pump(far, near, pair, True)

    def answer_503(self, near):
        try:
            near.settimeout(5)
            near.recv(65536)
            near.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            near.shutdown(socket.SHUT_WR)
            while near.recv(65536):  # a body that is still coming would reset the answer
                pass
        except OSError:
            pass
        near.close()

    def pump(self, one, other, pair, answers):
        try:
            while piece := one.recv(65536):
                self.flowing.wait()
                if answers and self.mode == "mute":
                    break
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

    def end_all(self):
        for pair in list(self.live):
            self.end(pair)

    def cut(self, seconds):
        """Connections break, and new ones too."""
        self.mode = "cut"
        self.end_all()
        time.sleep(seconds)
        self.mode = "open"

    def mute(self, seconds):
        """What is asked is done, and the answer is lost with its connection."""
        self.mode = "mute"
        time.sleep(seconds)
        self.mode = "open"

    def fail(self, seconds):
        """Of HTTP: 503 to everything."""
        self.mode = "failing"
        self.end_all()
        time.sleep(seconds)
        self.mode = "open"

    def pause(self, seconds):
        """Nothing moves, and nothing breaks."""
        self.flowing.clear()
        time.sleep(seconds)
        self.flowing.set()


class Net:
    """A bridge of this machine, and a namespace for each node; without the rights for that, everything is loopback."""

    def __init__(self, wanted=True):
        tools = all(subprocess.run(["which", tool], stdout=subprocess.DEVNULL).returncode == 0 for tool in ("ip", "iptables"))
        self.real = wanted and os.geteuid() == 0 and tools and number("namespaces", 1) == 1
        self.bridge, self.count = f"fm{os.getpid() % 100000}", 0
        subnet = f"10.213.{os.getpid() % 250 + 1}"
        self.here = f"{subnet}.1" if self.real else "127.0.0.1"
        self.subnet = subnet
        if self.real:
            self.run("ip", "link", "add", self.bridge, "type", "bridge")
            undo.append(["ip", "link", "del", self.bridge])
            self.run("ip", "addr", "add", f"{self.here}/24", "dev", self.bridge)
            self.run("ip", "link", "set", self.bridge, "up")

    @staticmethod
    def run(*words):
        subprocess.run(words, check=True)

    def place(self):
        """A place for a node: its address, and the words that start a program there."""
        if not self.real:
            return None, "127.0.0.1", []
        self.count += 1
        space, address = f"{self.bridge}n{self.count}", f"{self.subnet}.{self.count + 9}"
        self.run("ip", "netns", "add", space)
        undo.append(["ip", "netns", "del", space])
        self.run("ip", "link", "add", space, "type", "veth", "peer", "name", "eth0", "netns", space)
        self.run("ip", "link", "set", space, "master", self.bridge, "up")
        for words in (["addr", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            self.run("ip", "-n", space, *words)
        return space, address, ["ip", "netns", "exec", space]


def moto():
    venv = Path(os.environ.get("FINDME_MOTO", Path.home() / ".cache" / "findme-moto"))
    if not (venv / "bin" / "moto_server").exists():
        say("installing moto")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "-q", "moto[s3,server]"], check=True)
    port = free_port()
    child = start([venv / "bin" / "moto_server", "-H", "127.0.0.1", "-p", port], "moto")
    wait_for("the object store", 30, lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
    ask_moto(port, "PUT", "/photos")
    return port, child


def ask_moto(port, method, path):
    """A request to the object store, which believes every signature; its answer."""
    signed = "AWS4-HMAC-SHA256 Credential=test/20300101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers={"Authorization": signed})
    return urllib.request.urlopen(request, timeout=60).read().decode()


class Site:
    """PostgreSQL and a store, and what a node is told about both. `disturbed`: through lines, in namespaces where that is
    allowed; else straight, on loopback, so that nothing of ours is in between where speed is measured."""

    def __init__(self, name, disturbed=True):
        self.net, self.name, self.photos = Net(disturbed), name, "s3://photos/party"
        subprocess.run(["psql", DATABASE, "-qc", f"CREATE DATABASE {name}"], check=True)
        self.database_port = int(re.search(r":(\d+)/", DATABASE).group(1))
        self.moto_port, self.moto = moto()
        self.store_port = self.moto_port
        if disturbed:
            self.database_line, self.store_line = Line(self.database_port, self.net.here), Line(self.store_port, self.net.here)
            self.database_port, self.store_port = self.database_line.port, self.store_line.port
        self.environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
                            "AWS_ENDPOINT": f"http://{self.net.here}:{self.store_port}", "AWS_ALLOW_HTTP": "true", "FINDME_LOG": "warn"}

    def copy(self, name, photos=None):
        """The same with a copy of the database, to which nobody may be connected, and its photos elsewhere: at an address,
        or in a folder that all nodes share."""
        subprocess.run(["psql", DATABASE, "-qc", f"CREATE DATABASE {name} TEMPLATE {self.name}"], check=True)
        other = copy.copy(self)
        other.name, other.photos = name, photos or self.photos
        return other

    def drop(self):
        subprocess.run(["psql", DATABASE, "-qc", f"DROP DATABASE {self.name} WITH (FORCE)"], check=True)

    def words(self):
        where = [] if isinstance(self.photos, Path) else ["--photos", self.photos]
        database = f"postgres://findme@{self.net.here}:{self.database_port}/{self.name}"
        return ["--database", database, *where, "--keys", WORK / "keys"]

    def prepare(self, data):
        """The data folder of a node, where it shares a folder of photos with others."""
        if isinstance(self.photos, Path):
            data.mkdir(exist_ok=True)
            for name in ("photos", "derived"):
                (self.photos / name).mkdir(parents=True, exist_ok=True)
                (data / name).exists() or (data / name).symlink_to(self.photos / name)

    def sql(self, statement):
        direct = DATABASE.rsplit("/", 1)[0] + f"/{self.name}"
        return subprocess.run(["psql", direct, "-Atc", statement], capture_output=True, text=True, check=True).stdout.strip()

    def create_event(self, program=None, token_file="token"):
        made = subprocess.run([program or BIN / "findme-server", "event", "create", "party", "--data", WORK / "desk", *self.words()],
                              capture_output=True, text=True, env={**os.environ, **self.environment})
        assert made.returncode == 0, made.stderr
        token = re.search(r"fmp\.\S+", made.stdout).group(0)
        (WORK / token_file).write_text(token)
        os.chmod(WORK / token_file, 0o600)
        return token


class Node:
    def __init__(self, role, number, site, program=None, more=("--faces", "off", "--workers", "1"), start_now=True):
        self.name, self.role, self.site, self.more = f"{role}-{number}", role, site, list(more)
        self.program = program or BIN / "findme-server"
        self.space, self.address, self.enter = site.net.place()
        self.port = free_port(self.address if not self.space else "127.0.0.1")
        self.child, self.kills = None, 0
        if start_now:
            self.run()

    def run(self):
        self.site.prepare(WORK / self.name)
        words = [*self.enter, self.program, "serve", "--role", self.role, "--data", WORK / self.name, "--disk-reserve", "0",
                 "--trusted-proxy", self.site.net.here, *self.more, *self.site.words()]
        if self.role != "worker":
            words += ["--listen", f"{self.address}:{self.port}"]
        self.child = start(words, self.name, self.site.environment)

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.kills += 1

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(timeout=90)

    def keep(self):
        """As a service manager does."""
        if self.child.poll() is not None:
            self.run()

    def is_ready(self):
        self.keep()
        return self.role == "worker" or urllib.request.urlopen(f"http://{self.address}:{self.port}/readyz", timeout=5).status == 200

    def unplug(self, seconds):
        """The cable is out: everything that goes to the node or from it."""
        Net.run("ip", "link", "set", self.space, "down")
        time.sleep(seconds)
        Net.run("ip", "link", "set", self.space, "up")

    def lose(self, port, seconds):
        """Packets to an engine are lost, without a word."""
        rule = ["OUTPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP"]
        Net.run(*self.enter, "iptables", "-A", *rule)
        time.sleep(seconds)
        Net.run(*self.enter, "iptables", "-D", *rule)


def balancer(webs, name="nginx"):
    port = free_port()
    servers = "\n".join(f"        server {web.address}:{web.port} max_fails=1 fail_timeout=1s;" for web in webs)
    (WORK / f"{name}.conf").write_text(f"""
daemon off; master_process off; pid {WORK}/{name}.pid; error_log {WORK}/{name}.log crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 0;
    client_body_temp_path {WORK}/{name}-body; proxy_temp_path {WORK}/{name}-proxy; fastcgi_temp_path {WORK}/{name}-f;
    uwsgi_temp_path {WORK}/{name}-u; scgi_temp_path {WORK}/{name}-s;
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
    child = start(["nginx", "-p", WORK, "-c", WORK / f"{name}.conf"], name)
    wait_for("the balancer", 10, lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5).status == 200)
    return port, child


def make_photos(count, cards=4, first=0):
    """Pictures in as many folders as there are watchers; their digests, with their paths."""
    from PIL import Image
    contents = {}
    for n in range(first, first + count):
        folder = WORK / f"card-{n % cards}"
        folder.mkdir(exist_ok=True)
        part, path = folder / f".DSC_{n:05}.part", folder / f"DSC_{n:05}.JPG"
        # Some are larger than a piece of the object store.
        size = (320, 240) if n % 200 else (2600, 1800)
        noise = Image.frombytes("L", (size[0] // 4, size[1] // 4), random.Random(SEED + n).randbytes(size[0] // 4 * (size[1] // 4)))
        Image.merge("RGB", [noise.resize(size)] * 3).save(part, format="JPEG", quality=92 if n % 200 else 100)
        part.rename(path)
        contents[hashlib.sha256(path.read_bytes()).hexdigest()] = path
    assert len(contents) == count, "two made photos are equal"
    return contents


def watch(port, card, *more, token="token", output="plain"):
    return start([BIN / "findme-watch", "--server", f"http://127.0.0.1:{port}", "--token-file", WORK / token, "--manifest", WORK / f"manifest-{card}",
                  "--output", output, "--preview", "never", "--give-up", "600", *more, WORK / f"card-{card}"], f"watch-{card}")


def audit(site, port, token, contents):
    """What is on the server beside what was sent: lost, more than was sent, twice, damaged, not indexed once, not announced once."""
    rows = dict(line.split("|") for line in site.sql("SELECT encode(digest, 'hex'), encode(id, 'hex') FROM photos").splitlines())
    damaged = 0
    for digest, photo in rows.items():
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/photo/{photo}", headers={"Authorization": f"Bearer {token}"})
        damaged += hashlib.sha256(urllib.request.urlopen(request, timeout=60).read()).hexdigest() != digest
    count = lambda statement: int(site.sql(statement))
    return {
        "lost": len(contents.keys() - rows.keys()), "unknown": len(rows.keys() - contents.keys()),
        "twice": count("SELECT COUNT(*) - COUNT(DISTINCT digest) FROM photos"), "damaged": damaged,
        "not indexed exactly once": count("SELECT COUNT(*) FROM photos WHERE index_runs <> 1 OR state <> 'indexed'"),
        "not announced exactly once": count("SELECT COUNT(*) FROM (SELECT photo FROM live WHERE kind = 'indexed' GROUP BY photo HAVING COUNT(*) <> 1) AS t"),
    }

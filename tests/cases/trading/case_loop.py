"""A home with a momentum champion on sp500-20 until 2018, made once; a server beside a copy; books out of a journal."""
import contextlib, json, os, pathlib, shutil, socket, sqlite3, subprocess, time
from decimal import Decimal
from lib import *
SEED = WORK / "seed"
def seed():
    if not (SEED / "ok").exists():
        shutil.rmtree(SEED, ignore_errors=True)
        for a in (("features", "build", "--until", "2018-12-31"), ("train", "momentum"), ("features", "materialize")):
            rc, out, err = cli(SEED, *a)
            if rc: raise SystemExit(f"seed {a}: {rc} {err[-600:]}")
        (SEED / "ok").touch()
    return SEED
def copy(name, source=None):
    p = WORK / name; shutil.rmtree(p, ignore_errors=True); shutil.copytree(source or seed(), p); return p
def port():
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); return s.getsockname()[1]
@contextlib.contextmanager
def served(home, **settings):
    p = port(); ports = dict(SERVING__GRPC_PORT=p, SERVING__HTTP_PORT=0, SERVING__METRICS_PORT=0, **settings)
    if os.environ.get("CASES_FORK"):
        import signal
        pid, o, _ = forked(home, ("serve", "--runtime", "process"), out=f"{home}.serve.log", **ports)
        try:
            for _ in range(480):
                if "ready" in open(f"{home}.serve.log").read(): break
                if os.waitpid(pid, os.WNOHANG)[0]: raise SystemExit("server ended: " + open(f"{home}.serve.log").read()[-500:])
                time.sleep(.25)
            yield ports
        finally:
            os.kill(pid, signal.SIGTERM); os.waitpid(pid, 0)
        return
    log = open(f"{home}.serve.log", "w")
    proc = subprocess.Popen(["nice", "-n", "5", PY, "-c", "from cli.main import main; main()", "serve", "--runtime", "process"],
                            env=env(home, **ports), cwd=WORK, stdout=log, stderr=log)
    try:
        for _ in range(240):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", p)) == 0: break
            if proc.poll() is not None: raise SystemExit("server ended: " + open(f"{home}.serve.log").read()[-500:])
            time.sleep(.25)
        time.sleep(1); yield ports
    finally:
        proc.terminate()
        try: proc.wait(15)
        except subprocess.TimeoutExpired: proc.kill()
def records(home, stream="trading"):
    c = sqlite3.connect(f"file:{home}/journal/{journal_name(home)}?mode=ro", uri=True)
    rows = [(k, json.loads(b)) for k, b in c.execute("select kind, body from records where stream=? order by seq", (stream,))]
    c.close(); return rows
def journal_name(home):
    return next(p.name for p in (pathlib.Path(home) / "journal").iterdir() if p.suffix in (".db", ".sqlite", ".sqlite3"))
def books(home):
    rows = records(home); d = [b for k, b in rows if k == "decision"]
    return dict(decisions=[x["as_of"][:10] for x in d], orders=[b["client_order_id"] for k, b in rows if k == "order"],
                fills=[(b["client_order_id"], b["filled_at"][:10], b["price"]) for k, b in rows if k == "fill"],
                equity=d[-1]["equity"] if d else None, cash=d[-1]["cash"] if d else None, quantities=d[-1]["quantities"] if d else None)
KILL = """
import os, importlib
mod, cls, fn, n, when = {mod!r}, {cls!r}, {fn!r}, {n}, {when!r}
C = getattr(importlib.import_module(mod), cls); real = getattr(C, fn); seen = [0]
def wrapped(*a, **k):
    seen[0] += 1
    if when == 'before' and seen[0] == n: os.kill(os.getpid(), 9)
    r = real(*a, **k)
    if when == 'after' and seen[0] == n: os.kill(os.getpid(), 9)
    return r
setattr(C, fn, wrapped)
"""
def kill(mod, cls, fn, n, when="after"): return KILL.format(mod=mod, cls=cls, fn=fn, n=n, when=when)
def crown(home, version="1", **s):
    """What `train` does for a first version that its gate lets pass, for one that it refused: the trade is what is looked at."""
    p = subprocess.run([PY, "-c", "from alphaloop.settings.settings import load_settings; from cli.commands.train import _crown; _crown(load_settings(), 'equities', %r)" % version],
                       env=env(home, **s), cwd=WORK, capture_output=True, text=True)
    if p.returncode: raise SystemExit(p.stderr[-600:])

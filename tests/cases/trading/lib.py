"""Helpers of the cases. ALPHALOOP_ROOT: the tree to test; ALPHALOOP_PYTHON: its interpreter."""
import json, os, pathlib, shutil, subprocess, sys, tempfile
ROOT = os.environ.get("ALPHALOOP_ROOT", os.getcwd())
PY = os.environ.get("ALPHALOOP_PYTHON", os.path.join(ROOT, ".venv/bin/python"))
WORK = pathlib.Path(os.environ.get("CASES_WORK", os.path.join(tempfile.gettempdir(), "alphaloop-cases"))); WORK.mkdir(parents=True, exist_ok=True)
if os.path.realpath(sys.executable) != os.path.realpath(PY) or sys.prefix == sys.base_prefix:
    if not os.environ.get("CASES_INNER"):
        os.environ["CASES_INNER"] = "1"
        os.execve(PY, [PY, "-P", *sys.argv], {**os.environ, "PYTHONPATH": f"{ROOT}:{pathlib.Path(__file__).parent}"})
sys.path.insert(0, ROOT)
BASE = {"PYTHONSAFEPATH": "1", "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true", "PYTHONWARNINGS": "ignore"}

def env(home, **settings):
    e = {k: v for k, v in os.environ.items() if not k.startswith("ALPHALOOP_") and k != "CASES_INNER"}
    return {**e, **BASE, "ALPHALOOP_HOME": str(home), **{f"ALPHALOOP_{k}": str(v) for k, v in settings.items()}}

def cli(home, *args, cwd=None, pre="", timeout=400, **settings):
    """Run the command; returns (rc, stdout, stderr)."""
    if os.environ.get("CASES_FORK") and cwd is None: return fcli(home, *args, pre=pre, **settings)
    code = pre + "\nfrom cli.main import main; main()"
    p = subprocess.run(["nice", "-n", "10", PY, "-c", code, *args], env=env(home, **settings),
                       cwd=cwd or WORK, capture_output=True, text=True, timeout=timeout)
    return p.returncode, p.stdout, p.stderr

def preload():
    """Import what the verbs need once; forked children then start in a moment (set CASES_FORK=1)."""
    import importlib
    sys.argv = ["alphaloop"]; os.environ.update(BASE)
    import pandas, pyarrow.parquet, onnxruntime, sqlalchemy  # noqa
    for m in ("cli.main", "loop.wiring", "loop.turn", "features.store.streamer", "serving.client.client", "serving.hosts.process", "models.training.train", "mlflow", "feast", "rollouts.operations", "alembic.command"):
        importlib.import_module(m)
    from cli.main import make_app; make_app()
_ready = []
def forked(home, args, pre="", out=None, **settings):
    if not _ready: preload(); _ready.append(1)
    o, e = (open(out, "w"), None) if out else (tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+"))
    pid = os.fork()
    if pid == 0:
        try:
            os.nice(5); os.dup2(o.fileno(), 1); os.dup2((e or o).fileno(), 2); os.chdir(WORK)
            for k in [k for k in os.environ if k.startswith("ALPHALOOP_")]: del os.environ[k]
            os.environ.update({k: v for k, v in env(home, **settings).items() if k.startswith("ALPHALOOP_") or k in BASE})
            for k, v in settings.items():
                if k == "TMPDIR": tempfile.tempdir = v
            sys.stdout = os.fdopen(1, "w"); sys.stderr = os.fdopen(2, "w")
            if pre: exec(pre, {})
            from cli.main import run_command
            code = 1
            try: code = run_command(list(args))
            except BaseException:
                import traceback; traceback.print_exc()
            sys.stdout.flush(); sys.stderr.flush()
        finally: os._exit(code)
    return pid, o, e
def fcli(home, *args, pre="", **settings):
    pid, o, e = forked(home, args, pre, **settings)
    _, st = os.waitpid(pid, 0); rc = os.waitstatus_to_exitcode(st)
    texts = []
    for f in (o, e): f.seek(0); texts.append(f.read()); f.close()
    return rc, *texts

def js(home, *args, **kw):
    rc, out, err = cli(home, *args, "--json", **kw)
    if rc: raise SystemExit(f"{args}: rc {rc}: {err[-800:]}")
    return json.loads(out)

def fresh(name):
    p = WORK / name
    shutil.rmtree(p, ignore_errors=True); p.mkdir(parents=True); return p

def panel(close, opened=None, adjustment=None, start="2020-01-02", step="D", symbols=None):
    import numpy as np
    from alphaloop.bars import BarPanel
    close = np.asarray(close, float); n, m = close.shape
    t = (np.datetime64(start, "ns") + np.arange(n) * np.timedelta64(1, step)).astype("datetime64[ns]")
    nan = np.full_like(close, np.nan)
    return BarPanel(t, tuple(symbols or [f"S{i:02d}" for i in range(m)]), nan if opened is None else np.asarray(opened, float),
                    nan, nan, close, nan, np.ones_like(close) if adjustment is None else np.asarray(adjustment, float))

def verdict(ok, text):
    print(("RIGHT: " if ok else "WRONG: ") + text); raise SystemExit(0 if ok else 1)

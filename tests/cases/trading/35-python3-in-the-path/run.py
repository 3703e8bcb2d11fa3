import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# kfp's local runner rewrites the word python3 in parameters (FACTS): a home below such a folder
from case_loop import *
plain = WORK / "30-whole"
if not plain.exists(): raise SystemExit("run 30 first")
home = copy("python3-desk/home", plain)
rc, o, e = cli(home, "pipeline", "run", "retrain", "model=equities", "family=momentum", "cause_id=h3")
rc0, o0, e0 = (None,) * 3
n = js(home, "models", "list")
verdict("python-desk" not in e and (rc == 0 or "python3-desk" in e), f"home {home}: pipeline run retrain rc {rc}: {e.strip()[-300:]}")

import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# mlflow registry races: two first trainings of one model in a fresh home, at once
from case_loop import *
import threading
home = fresh("36"); s = dict(TRAINING__FIRST_TEST_YEAR=2012)
rc, o, e = cli(home, "features", "build", "--until", "2018-12-31"); assert rc == 0, e
res = {}
ts = [threading.Thread(target=lambda i=i: res.update({i: cli(home, "train", "momentum")})) for i in (1, 2)]
[t.start() for t in ts]; [t.join() for t in ts]
n = js(home, "models", "list"); v = cli(home, "audit", "verify"); st = cli(home, "rollout", "status", "--json")
ends = [(r[0], r[2].strip()[-200:]) for r in res.values()]
verdict(sorted(r[0] for r in res.values()) in ([0, 0],) and v[0] == 0 and not any("Traceback" in r[2] for r in res.values()), f"ends {ends}; audit {v[0]}; versions {[(m.get('version'), m.get('stage') or m.get('alias') or m.get('role')) for m in n] if isinstance(n, list) else str(n)[:200]}; status {st[1][:120]!r}")

import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# two `trade` on one home: one trades, the other is told, books are those of one
from case_loop import *
import threading
SPAN = "2019-01-02:2019-01-15"
whole = WORK / "30-whole"
if not whole.exists():
    whole = copy("30-whole")
    with served(whole) as p: cli(whole, "trade", "--replay", SPAN, **p)
home = copy("31"); res = {}
with served(home) as p:
    ts = [threading.Thread(target=lambda i=i: res.update({i: cli(home, "trade", "--replay", SPAN, **p)})) for i in (1, 2)]
    [t.start() for t in ts]; [t.join() for t in ts]
    v = cli(home, "audit", "verify")
same = books(home)["equity"] == books(whole)["equity"]
told = [(r[0], r[2].strip()[-160:]) for r in res.values()]
verdict(same and v[0] == 0 and sorted(t[0] for t in told) in ([0, 2], [0, 3], [0, 1]) and not any("Traceback" in r[2] for r in res.values()), f"books same {same}, audit {v[0]}, ends {told}")

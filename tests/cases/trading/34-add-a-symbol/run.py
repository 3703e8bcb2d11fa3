import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# docs/operating.md: "To add a symbol, add it to data.symbols, train, and roll out as below" - for a book that trades.
from case_loop import *
seven = "AAPL,AMD,BAC,BBY,CVX,GE,HD"
home = fresh("34"); s = dict(DATA__SYMBOLS=json.dumps(seven.split(",")))
t = dict(DATA__SYMBOLS=json.dumps((seven + ",JNJ").split(",")))
for a in (("features", "build", "--until", "2018-12-31"), ("train", "momentum"), ("features", "materialize")):
    rc, o, e = cli(home, *a, **s); assert rc == 0, (a, e[-500:])
gate = js(home, "models", "show", "equities", "1", **s)["gate"]
if not gate["passed"]: crown(home, **s); print("   crowned by hand:", gate["reasons"][0][:90])
with served(home, **s) as p: rc, o, e = cli(home, "trade", "--replay", "2019-01-02:2019-01-10", **p)
print("  seven symbols:", rc, e.strip()[-200:])
out = []
for a in (("features", "build", "--until", "2019-01-10"), ("train", "momentum"), ("features", "materialize")):
    rc, o, e = cli(home, *a, **t); out.append((a[:2], rc, e.strip()[-160:]))
with served(home, **t) as p: rc, o, e = cli(home, "trade", "--replay", "2019-01-11:2019-01-31", **p)
verdict(rc == 0, f"after adding JNJ {out}: trade rc {rc}: {e.strip()[-300:]}")

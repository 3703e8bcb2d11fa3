import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# freqtrade#9240, #11346: a user's indicator that looks one bar ahead in the batch; does building, training or parity say so?
from case_loop import *
home = fresh("43"); own = home / "own.py"
own.write_text('''from __future__ import annotations
import numpy as np
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window
K = %d
class _Handle:
    def __init__(self, last): self.last = last
    def update(self, inputs, time):
        out = inputs[0] / self.last - 1; self.last = np.where(np.isfinite(inputs[0]), inputs[0], self.last); return (out,)
class Peek:
    outputs = ("value",); lookback = 2; exact = True; cross = False
    def batch(self, inputs, axes):
        x = inputs[0]; out = np.full_like(x, np.nan); out[1:] = x[1:] / x[:-1] - 1
        out[:-K] = x[K:] / x[:-K] - 1
        return (out,)
    def stream(self, inputs, axes): return _Handle(inputs[0][-1] if len(inputs[0]) else np.full(len(axes.symbols), np.nan))
@indicator(inputs=("close",), group="own", reference="the desk's")
def peek() -> Operator:
    """The return of the next bars."""
    return Peek()
''' % int(os.environ.get("K", 3)))
s = dict(FEATURES__FILES=json.dumps([str(own)]), FEATURES__SET=json.dumps(["return_5", "rsi(14)", "peek()"]))
found = {}
for a in (("features", "build", "--until", "2018-12-31"), ("train", "lightgbm", "--trials", "0"), ("features", "parity", "--bars", "5")):
    rc, o, e = cli(home, *a, **s); found[" ".join(a[:2])] = (rc, (e.strip() or o.strip())[-330:])
for k, v in found.items(): print("  ", k, v)
m = js(home, "models", "list", **s)[-1]; gate = m["gate"]
verdict(not gate["passed"] and found["features parity"][0] == 1, f"a peek of {os.environ.get('K', 3)} bars: build rc {found['features build'][0]}, train rc {found['train lightgbm'][0]}, gate {gate['reasons'][:1]}, parity rc {found['features parity'][0]}")

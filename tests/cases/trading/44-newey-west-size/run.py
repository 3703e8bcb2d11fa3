import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# a persistent score without skill on independent returns: |t| > 2 for the mean IC of overlapping labels should come in 2.3 % on one side
import numpy as np
from models.evaluation.horizon_tstat import horizon_tstat
from alphaloop.statistics.information_coefficient import information_coefficients
from models.labels import forward_returns
rng = np.random.default_rng(2); T, S, h, n = 1500, 20, 5, int(os.environ.get("N", 600)); t = {"fixed": [], "white": [], "nonoverlap": []}
for k in range(n):
    close = 100 * np.exp(np.cumsum(rng.normal(0, .02, (T, S)), 0)); lab = forward_returns(close, h)
    for name, s in (("fixed", np.broadcast_to(rng.normal(size=S), (T, S)).copy()), ("white", rng.normal(size=(T, S)))):
        ic = information_coefficients(s, lab); t[name].append(horizon_tstat(ic, h))
        if name == "fixed": x = ic[np.isfinite(ic)][::h]; t["nonoverlap"].append(x.mean() / x.std(ddof=1) * len(x) ** .5)
rate = {k: (np.array(v) > 2).mean() for k, v in t.items()}; sd = {k: float(np.std(v)) for k, v in t.items()}
verdict(rate["fixed"] < .033, f"{n} skilless scores, gate's t above 2: fixed tilt {rate['fixed']:.1%} (sd of t {sd['fixed']:.2f}), white {rate['white']:.1%} ({sd['white']:.2f}), non-overlapping labels {rate['nonoverlap']:.1%} ({sd['nonoverlap']:.2f}); nominal 2.3 %, sd 1")

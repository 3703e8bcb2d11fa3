import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# noise models through evaluation and gate; how many pass, and what the gate does with the number of attempts.
import numpy as np, time, collections
from marketdata.sources.registry import find_source
from features.compute.batch import backfill
from features.feature_set import default_feature_set
from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel
from alphaloop.settings.settings import Settings
from datetime import datetime, UTC
from models.evaluation import gate, splits
from models.evaluation.walk_forward import EvaluationPolicy, evaluate_scores
from types import SimpleNamespace as N
bars = BarPanel.from_table(find_source("sp500-20").history((), None, datetime(2018, 12, 31, 23, tzinfo=UTC)))
t0 = time.time(); frame = backfill(bars, default_feature_set()); pol = EvaluationPolicy.from_settings(Settings(), AllocationStrategy())
folds = splits.walk_forward_folds(frame.timestamps, pol.first_test_year, pol.folds, pol.horizon)
close = bars.adjusted_close; T, S = close.shape; F = np.nan_to_num(frame.values.astype(float)); tested = slice(folds[0].test.start, T)
rank = np.argsort(np.argsort(F, axis=1), axis=1) / (S - 1) - .5
def score(kind, rng):
    if kind == "white": return rng.normal(size=close.shape)
    if kind == "fixed tilt": return np.broadcast_to(rng.normal(size=S), close.shape).copy()
    if kind == "slow AR":
        x = np.zeros(close.shape); e = rng.normal(size=close.shape)
        for i in range(1, T): x[i] = .995 * x[i - 1] + e[i]
        return x
    w = rng.normal(size=F.shape[2]) * (rng.random(F.shape[2]) < .2); return (rank * w).sum(2)   # random mixture of the features
ok = N(reasons=()); mom = score; n = int(os.environ.get("N", 60)); out = {}
base = evaluate_scores(F[:, :, frame.names.index("momentum_252_21")], close, frame, folds, pol, trials=0)
champ = N(metric=lambda k: base.active_ir_net, family="momentum")
print(f"  momentum itself: IC {base.ic:.4f} t {base.ic_tstat:.2f} IR {base.active_ir_net:.2f}, passes first gate: {gate.judge(base, ok, None).passed}")
for kind in ("white", "fixed tilt", "slow AR", "feature mixture"):
    c = collections.Counter(); best = (-9, None)
    for k in range(n):
        e = evaluate_scores(score(kind, np.random.default_rng([7, k])), close, frame, folds, pol, trials=n)
        p0, p1 = gate.judge(e, ok, None), gate.judge(e, ok, champ)
        c["no champion"] += p0.passed; c["beats momentum"] += p1.passed; c["t>2"] += e.ic_tstat > 2; c["IR>0"] += e.active_ir_net > 0
        if p0.passed: c["deflated<0.95"] += e.deflated_sharpe < .95
        if p0.passed and e.active_ir_net > best[0]: best = (e.active_ir_net, (round(e.ic, 4), round(e.ic_tstat, 2), round(e.deflated_sharpe, 3)))
    out[kind] = dict(c); print(f"  {kind}: of {n}: {dict(c)}; best that passed: IR {best[0]:.2f}, (ic, t, deflated for {n} trials) {best[1]}; {time.time()-t0:.0f} s", flush=True)
share = sum(v.get("no champion", 0) for k, v in out.items() if k != "feature mixture") / (3 * n)
verdict(share <= .025, f"skilless models that pass the first gate: {share:.1%} of {3*n}; nominal 2.3 % by t alone, about 1 % with IR > 0 demanded too")

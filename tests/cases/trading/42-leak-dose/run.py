import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# a leak of chosen strength: score = z(label) * dose + noise, smoothed; where does the gate begin to say "suspected leakage"?
import numpy as np
from marketdata.sources.registry import find_source
from features.compute.batch import FeatureFrame
from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel
from alphaloop.settings.settings import Settings
from datetime import datetime, UTC
from models.evaluation import gate, splits
from models.evaluation.walk_forward import EvaluationPolicy, evaluate_scores
from models.labels import forward_returns, cross_sectional_z_scores
from types import SimpleNamespace as N
bars = BarPanel.from_table(find_source("sp500-20").history((), None, datetime(2018, 12, 31, 23, tzinfo=UTC)))
close = bars.adjusted_close; pol = EvaluationPolicy.from_settings(Settings(), AllocationStrategy())
frame = N(timestamps=bars.timestamps, symbols=bars.symbols, outside=None)
folds = splits.walk_forward_folds(bars.timestamps, pol.first_test_year, pol.folds, pol.horizon)
z = np.nan_to_num(cross_sectional_z_scores(forward_returns(close, pol.horizon))); rng = np.random.default_rng(0); noise = rng.normal(size=z.shape)
res = []
for dose in (.02, .04, .06, .08, .1, .13, .17, .25, .5, 1):
    e = evaluate_scores(dose * z + noise, close, frame, folds, pol, trials=0); g = gate.judge(e, N(reasons=()), None)
    res.append((dose, g.passed)); print(f"  own label x {dose}: IC {e.ic:.3f}, one bar {e.ic_one_bar:.3f}, IR {e.active_ir_net:.2f}: {'PASSES' if g.passed else g.reasons[0][:90]}", flush=True)
ret = np.zeros_like(close); ret[:-1] = close[1:] / close[:-1] - 1
for k in (1, 2, 3, 6):                                          # peeks: the return of the next k bars as the score itself
    s = np.full_like(close, np.nan); s[:-k] = close[k:] / close[:-k] - 1
    for kind, x in ((f"return of the next {k}", s), (f"5-bar return, stamped {k} early", np.vstack([close[5 + 0 :], np.full((5, close.shape[1]), np.nan)]) * 0 + np.roll(np.vstack([np.full((5, close.shape[1]), np.nan), close[5:] / close[:-5] - 1]), -k, 0))):
        x = x.copy(); x[-k:] = np.nan
        e = evaluate_scores(x, close, frame, folds, pol, trials=0); g = gate.judge(e, N(reasons=()), None); e2 = evaluate_scores(-x, close, frame, folds, pol, trials=0); g2 = gate.judge(e2, N(reasons=()), None)
        print(f"  {kind}: IC {e.ic:+.3f} t {e.ic_tstat:.1f} IR {e.active_ir_net:+.2f}: {'PASSES' if g.passed else g.reasons[0][:70]}; turned round: {'PASSES' if g2.passed else g2.reasons[0][:70]}", flush=True)
        if g.passed or g2.passed: res.append((kind, True))
verdict(not [d for d in res if d[1]], f"leaks that the gate lets pass: {[d for d, p in res if p]}")

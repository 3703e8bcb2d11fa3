import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# engine of `alphaloop backtest MODEL --json` against a ledger of our own: pandas and Decimal, nothing of alphaloop's.
from case_loop import *
from decimal import Decimal as D, ROUND_HALF_EVEN
import glob, numpy as np, pandas as pd
home = seed(); a, z = os.environ.get("FROM", "2019-01-02"), os.environ.get("TO", "2020-12-31")
said = js(home, "backtest", "equities", "--from", a, "--to", z)
raw = pd.read_csv(glob.glob(f"{os.path.dirname(os.path.dirname(PY))}/lib/python3*/site-packages/skfolio/datasets/data/sp500_dataset.csv.gz")[0], index_col=0, parse_dates=True)
px = raw.loc["2000-01-01":z].sort_index(axis=1); days = px.index[px.index >= a]
score = px.shift(21) / px.shift(252) - 1
def target(s, w, gross=1.0, tilt=.5, rate=.1, band=.05):
    r = s.rank(); r = (r - r.mean()) / r.std(ddof=0); t = (1 + tilt * r).clip(lower=0); t = gross * t / t.sum()
    if not w.any(): return t
    d = t - w; return (w + rate * d.where(d.abs() >= band * gross / len(w), 0)).clip(lower=0)
q = {s: D(0) for s in px}; cash = D(1_000_000); pending = {}; eq = []; n = 0; costs = D(0); turn = 0.0; shares_by_day = []
P = lambda x: D(f"{x:.8f}")
for day in days:
    p = {s: P(px.at[day, s]) for s in px}; vol = D(0)
    for s, k in pending.items():
        cost = (abs(k * p[s]) * D("0.0005")).quantize(D("0.01"), ROUND_HALF_EVEN)
        q[s] += k; cash -= k * p[s] + cost; costs += cost; vol += abs(k * p[s])
    e = cash + sum(q[s] * p[s] for s in px); eq.append(float(e)); turn += float(vol / e); shares_by_day.append({s: float(pending.get(s, 0)) for s in px})
    w = pd.Series({s: float(q[s] * p[s] / e) for s in px}); t = target(score.loc[day], w).clip(upper=.15)
    rise = (t - w).clip(lower=0); keep = np.minimum(t, w); room = max(1 - keep.sum(), 0)
    if rise.sum() > room: t = keep + rise * room / rise.sum()
    pending = {}
    for s in px:
        k = int(np.trunc((t[s] - w[s]) * float(e) / float(p[s]) * 10_000)); k = max(k, -int(q[s] * 10_000))
        if k: pending[s] = D(k) / 10_000; n += 1
eq = pd.Series(eq, days); r = eq.pct_change().dropna()
mine = dict(net_return=eq.iloc[-1] / eq.iloc[0] - 1, sharpe_net=r.mean() / r.std() * 252 ** .5, max_drawdown=(1 - eq / eq.cummax()).max(), volatility=r.std() * 252 ** .5)
# benchmarks, in floats
def run(decide):
    h = pd.Series(0.0, px.columns); c = 1.0; chg = h.copy(); out = []
    for i, day in enumerate(days):
        p = px.loc[day]; h = h + chg; c -= (chg * p).sum() + (chg * p).abs().sum() * .0005; v = c + (h * p).sum(); out.append(v)
        w = h * p / v; chg = (decide(i, day, w) - w) * v / p
    return pd.Series(out, days)
ew = run(lambda i, d, w: w * 0 + .05 if i == 0 or d.year != days[i - 1].year else w); mo = run(lambda i, d, w: target(score.loc[d], w))
def figs(x): y = x.pct_change().dropna(); return dict(net_return=x.iloc[-1] / x.iloc[0] - 1, sharpe_net=y.mean() / y.std() * 252 ** .5, max_drawdown=(1 - x / x.cummax()).max(), volatility=y.std() * 252 ** .5)
worst = 0
for name, m in (("strategy", mine), ("equal_weight", figs(ew)), ("momentum_12_1", figs(mo))):
    d = {k: abs(said[name][k] - v) for k, v in m.items()}; worst = max(worst, *d.values()); print(" ", name, {k: (round(said[name][k], 8), round(v, 8)) for k, v in m.items()})
print("  orders", said["orders"], n, "costs", said["costs"], costs, "turnover", said["turnover"], turn / len(days))
eq.to_csv(WORK / "ledger.csv"); pd.DataFrame(shares_by_day, days).to_csv(WORK / "ledger-fills.csv"); px.loc[days].to_csv(WORK / "ledger-prices.csv")
verdict(worst < 1e-6 and abs(D(str(said["costs"])) - costs) < 1 and said["orders"] == n, f"greatest difference of any figure {worst:.2e}; orders {said['orders']}/{n}; costs {said['costs']}/{costs}")

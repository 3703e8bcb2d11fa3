import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# nautilus_trader#3046, #4736: kill -9 at five places of a bar; restarted, the book is that of a run that was never killed.
from case_loop import *
SPAN = "2019-01-02:2019-01-15"; DAYS = ["2019-01-%02d" % d for d in range(1, 32)]
whole = copy("30-whole")
with served(whole) as p: rc, o, e = cli(whole, "trade", "--replay", SPAN, **p); assert rc == 0, e
want = books(whole); bad = []
POINTS = {"bar stored": ("marketdata.storage.snapshots", "SnapshotStore", "append", 4), "features published": ("features.store.streamer", "Streamer", "publish", 4),
          "fills journaled": ("trading.engine", "TradingEngine", "_settle", 4), "decision journaled": ("trading.engine", "TradingEngine", "_journal", 4),
          "orders sent": ("trading.brokers.paper", "PaperBroker", "submit", 4)}
for name, (mod, cls, fn, n) in POINTS.items():
    home = copy("30-killed")
    with served(home) as p:
        rc, o, e = cli(home, "trade", "--replay", SPAN, pre=kill(mod, cls, fn, n), **p)
        before = books(home)
        again = cli(home, "trade", "--replay", SPAN, **p)
        tried = "same command: rc %d" % again[0]
        if again[0]:
            known = [d for d in want["decisions"]]
            for day in known:                              # what a person does: the first day that is accepted
                if day <= before["decisions"][-1]: continue
                again = cli(home, "trade", "--replay", f"{day}:2019-01-15", **p)
                if again[0] == 0: tried += f", went on from {day}"; break
        v = cli(home, "audit", "verify")[0]
    got = books(home)
    lost = sorted(set(want["decisions"]) - set(got["decisions"])); late = [f for f in got["fills"] if f not in want["fills"]]
    print(f"  killed when {name} (rc {rc}): {tried}; audit {v}; decisions lost {lost}; doubled {len(got['decisions'])-len(set(got['decisions']))}; fills elsewhere {len(late)} {late[:1]}; equity {got['equity']} against {want['equity']}")
    if got["equity"] != want["equity"] or lost: bad.append(name)
verdict(not bad, f"books differ after a kill at: {bad}" if bad else "five kills, the same books")

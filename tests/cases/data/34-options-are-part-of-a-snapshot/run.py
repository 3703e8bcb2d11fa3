#!/usr/bin/env python3
import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from kit import *
"""The same folder with another option (close=ask for close=bid) is another source: the old snapshot is not used for it in silence."""
d = days(80); rows = walk(80)
w = folder(AAA__csv="date,bid,ask\n" + "".join(f"{x},{r[3]},{r[3] * 2}\n" for x, r in zip(d, rows))); home = folder()
env = lambda c: dict(ALPHALOOP_HOME=str(home), ALPHALOOP_DATA__SOURCE=f"folder:{w}?close={c}", ALPHALOOP_FEATURES__SET='["sma(5)"]')
one = cli("features", "build", "--json", **env("bid")); two = cli("features", "parity", "--bars", "3", "--json", **env("ask"))
from alphaloop.settings.settings import load_settings
os.environ.update(env("ask")); os.chdir(home)
from loop import workspace
snapshot, bars = workspace.latest_bars(load_settings())
right = abs(bars.close[-1, 0] - rows[-1][3] * 2) < 1e-9
verdict(right, f"build rc {one[0]}, parity rc {two[0]}; with close=ask the bars end at {bars.close[-1, 0]:.4f}, the bid's {rows[-1][3]:.4f}, the ask's {rows[-1][3] * 2:.4f}; source '{snapshot.source[-30:]}'")

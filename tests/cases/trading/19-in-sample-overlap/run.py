import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# labels of the last learned bar reach horizon + 1 bars further: those bars are not out of sample.
import numpy as np
from types import SimpleNamespace as N
from alphaloop.bars import to_datetime
from cli.commands.backtest import _first_bar
bars = panel(np.full((100, 3), 100.0)); last = 60
card = N(train_last=to_datetime(bars.timestamps[last]).isoformat(), horizon=5)
first = _first_bar(bars, card, "1", "")
verdict(first > last + card.horizon + 1, f"last learned bar {last}, its label ends at bar {last+6}; backtest trades from bar {first} and calls it out of sample")

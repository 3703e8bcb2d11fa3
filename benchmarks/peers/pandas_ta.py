"""The peer's side of `feature_catalogue.py`: run by the interpreter that has pandas-ta-classic.

    python pandas_ta.py BARS.npz REPETITIONS

Prints seconds, by repetition, of 100 indicators over every symbol; written without anything of ours.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pandas_ta_classic as ta

LENGTHS = (5, 10, 14, 20, 50)
CLOSE = (
    "sma",
    "ema",
    "wma",
    "dema",
    "tema",
    "kama",
    "trima",
    "rsi",
    "roc",
    "mom",
    "cmo",
    "stdev",
    "variance",
    "linreg",
)
BARS = ("atr", "natr", "cci", "willr", "mfi", "aroon")

warnings.filterwarnings("ignore")
columns = np.load(sys.argv[1])
frames = [
    pd.DataFrame({name: columns[name][:, place] for name in columns.files})
    for place in range(columns["close"].shape[1])
]
took = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    for one in frames:
        high, low, close, volume = (one[name] for name in ("high", "low", "close", "volume"))
        for length in LENGTHS:
            for name in CLOSE:
                getattr(ta, name)(close, length=length)
            for name in BARS:
                given = {"high": high, "low": low}
                if name not in {"aroon"}:
                    given["close"] = close
                if name == "mfi":
                    given["volume"] = volume
                getattr(ta, name)(**given, length=length)
    took.append(time.perf_counter() - start)
print(json.dumps(took))

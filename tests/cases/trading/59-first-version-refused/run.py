import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# own data on which the baseline is no champion: there is a named way in, or the message says what to do
from case_loop import *
src = WORK / "48"
if not src.exists(): raise SystemExit("run 48 first")
s = dict(DATA__SOURCE="us-tech-ohlcv", DATA__SYMBOLS='["AAPL","IBM","MSFT"]', TRAINING__FIRST_TEST_YEAR=2003)
home = copy("59", src)
a = cli(home, "rollout", "start", "1", "--override", "desk", "--reason", "paper only", **s)
verdict(a[0] == 0, f"momentum, version 1, was refused; rollout start 1 --override: rc {a[0]}: {a[2].strip()[-140:]}")

"""CSV files of one's own: read, checked by every quality rule, and turned into features."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from alphaloop import BarPanel
from alphaloop.bars import with_calendar
from features.notebook import features
from marketdata import check_bars, find_source, session_closes


def write_bars(folder: Path, symbols: tuple[str, ...]) -> None:
    """Write one file a symbol, with a row a session: a random walk."""
    rng = np.random.default_rng(3)
    days = session_closes(date(2022, 1, 3), date(2023, 12, 29), "XNYS").astype("datetime64[D]")
    for symbol in symbols:
        closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.012, len(days))))
        with (folder / f"{symbol}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["date", "close"])
            rows.writerows(zip(days, closes.round(4), strict=True))


def main() -> None:
    """Write files, read them as a source, check them and compute three features."""
    with TemporaryDirectory() as folder:
        write_bars(Path(folder), ("ALFA", "BRAVO", "CHARLIE"))
        source = find_source(f"folder:{folder}?calendar=XNYS")
        table = source.history(source.symbols())

    findings = check_bars(table, source.calendar)
    print(f"{table.num_rows:,} rows:", findings or "nothing wrong")

    bars = BarPanel.from_table(with_calendar(table, source.calendar))
    frame = features(bars, "rsi(14)", "trend = close / sma(50) - 1", "rank(return_21)")
    print(frame.dropna().tail(3).round(3))


if __name__ == "__main__":
    main()

"""Series from outside are joined by publication: as known then, revised when revised, never before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import DataError, InputError, UnknownNameError
from marketdata.point_in_time.external_series import ExternalSeries, attach_series
from marketdata.point_in_time.observations import normalise_observations, read_observations
from marketdata.point_in_time.point_in_time_records import PointInTimeRecords
from marketdata.source import close_only_panel

SYMBOLS = ("A", "B")
DAYS = np.arange("2020-01-01", "2020-04-01", dtype="datetime64[D]")
START = datetime(2020, 1, 1, 21, tzinfo=UTC)
HEADER = "series,symbol,published,effective,value"


def bars(count: int = 60) -> BarPanel:
    """Bars that close every day at 21:00."""
    times = (DAYS[:count] + np.timedelta64(21, "h")).astype("datetime64[ns]")
    close = np.arange(1.0, 2 * count + 1).reshape(count, 2)
    return close_only_panel(times, SYMBOLS, close)


def table(*rows: str) -> pa.Table:
    """Observations of `series,symbol,published,effective,value`."""
    cells = [row.split(",") for row in rows]
    names = HEADER.split(",")
    return pa.table({name: pa.array([row[i] for row in cells], pa.string()) for i, name in enumerate(names)})


def at(day: str, hour: str = "12:00") -> str:
    """A moment in 2020."""
    return f"2020-{day}T{hour}:00Z"


def cpi() -> pa.Table:
    """December published on the 10th, revised on the 20th; January on the 15th of February, and December
    revised again later.
    """
    return table(
        f"cpi,,{at('01-10')},2019-12-01,1.0",
        f"cpi,,{at('01-20')},2019-12-01,1.1",
        f"cpi,,{at('02-15')},2020-01-01,2.0",
        f"cpi,,{at('02-20')},2019-12-01,1.2",
    )


def on(panel: BarPanel, day: str, name: str = "cpi", symbol: int = 0) -> float:
    """The value at the bar of a day in 2020."""
    row = int(np.flatnonzero(panel.timestamps.astype("datetime64[D]") == np.datetime64(f"2020-{day}"))[0])
    return float(panel.extra[name][row, symbol])


def test_a_value_is_seen_from_its_publication_on_and_revised_when_it_was() -> None:
    """Nothing before the release, the first print until the revision, the newer month from its release on,
    and no return to an older month when that is revised.
    """
    found = attach_series(bars(), cpi(), ("cpi",))
    assert np.isnan(on(found, "01-09"))
    assert on(found, "01-10") == on(found, "01-19") == 1.0
    assert on(found, "01-20") == on(found, "02-14") == 1.1
    assert on(found, "02-15") == on(found, "02-29") == 2.0
    assert on(found, "01-15", symbol=1) == 1.0


def test_publication_at_the_close_counts_and_after_it_does_not() -> None:
    """What is published at the very moment of the bar's close is known at it; an instant later it is not."""
    rows = table(f"x,,{at('01-10', '21:00')},2020-01-10,1", "x,,2020-01-20T21:00:00.000001Z,2020-01-20,2")
    found = attach_series(bars(), rows)
    assert np.isnan(on(found, "01-09", "x")) and on(found, "01-10", "x") == 1
    assert on(found, "01-20", "x") == 1 and on(found, "01-21", "x") == 2


def test_series_of_a_symbol_are_its_own_and_old_ones_are_gone() -> None:
    """A symbol's series does not reach another; past `max_age` since publication, or withdrawn, it is NaN."""
    rows = table(f"mood,A,{at('01-10')},2020-01-10,0.5", f"mood,A,{at('02-10')},2020-02-10,0.7",
                 f"mood,A,{at('02-12')},2020-02-10,")  # fmt: skip
    found = attach_series(bars(), rows, ("mood",), timedelta(days=5))
    assert on(found, "01-10", "mood") == on(found, "01-14", "mood") == 0.5
    assert np.isnan(on(found, "01-15", "mood"))
    assert on(found, "02-11", "mood") == 0.7 and np.isnan(on(found, "02-12", "mood"))
    assert np.isnan(found.extra["mood"][:, 1]).all()


def test_a_symbol_without_a_bar_has_no_value() -> None:
    """Values stand only on bars that there are: features count a symbol's own bars."""
    gaps = bars()
    close = gaps.close.copy()
    close[30, 0] = np.nan
    found = attach_series(replace(gaps, close=close), cpi())
    assert np.isnan(found.extra["cpi"][30, 0]) and np.isfinite(found.extra["cpi"][30, 1])


def random_rows(seed: int, count: int = 120, late: timedelta = timedelta(0)) -> pa.Table:
    """Observations of three series, published and revised at random."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        effective = int(random.integers(0, 50))
        published = START + timedelta(days=effective, minutes=int(random.integers(0, 20_000))) + late
        series, symbol = [("mood", "A"), ("mood", "B"), ("cpi", ""), ("flow", "B")][number % 4]
        value = "" if number % 13 == 0 else repr(float(random.normal()))
        rows.append(
            f"{series},{symbol},{published.isoformat()},{(START + timedelta(days=effective)).date()},{value}"
        )
    return normalise_observations(table(*rows))


def plainly(observations: pa.Table, series: str, symbol: str, moment: np.datetime64, age: timedelta) -> float:
    """What is known at a moment, searched for row by row."""
    best = None
    for row in observations.to_pylist():
        published = np.datetime64(row["published"].to_pydatetime().replace(tzinfo=None), "ns")
        if row["series"] != series or row["symbol"] not in ("", symbol) or published > moment:
            continue
        key = (row["effective"], row["published"])
        if best is None or key > best[0]:
            best = key, row["value"], published
    if best is None or best[1] is None or moment - best[2] > np.timedelta64(age):
        return float("nan")
    return float(best[1])


def test_joins_are_those_of_a_plain_search() -> None:
    """On random publications and revisions every value is what a search through all rows finds."""
    rows, panel, age = random_rows(1), bars(), timedelta(days=9)
    found = attach_series(panel, rows, max_age=age)
    assert set(found.extra) == {"mood", "cpi", "flow"}
    for name, values in found.extra.items():
        expected = [
            [plainly(rows, name, symbol, time, age) for symbol in SYMBOLS] for time in panel.timestamps
        ]
        np.testing.assert_array_equal(values, expected, name)
        assert np.isfinite(values).any() and np.isnan(values).any()


@pytest.mark.parametrize("cut", [3, 17, 40])
def test_nothing_published_later_changes_a_value_before(cut: int) -> None:
    """Whatever is published after t, or not published at all, values at or before t stay to the bit; and
    what was published before t is not idle.
    """
    panel = bars()
    moment = panel.timestamps[cut].astype("datetime64[us]").item().replace(tzinfo=UTC)
    rows = random_rows(2)
    early = rows.filter(pc.less_equal(rows["published"], pa.scalar(moment, rows["published"].type)))
    others = random_rows(3, late=timedelta(0))
    others = others.filter(pc.greater(others["published"], pa.scalar(moment, rows["published"].type)))
    names = ("mood", "cpi", "flow")
    one = attach_series(panel, rows, names)
    other = attach_series(panel, pa.concat_tables([early, others]), names)
    for name in names:
        np.testing.assert_array_equal(one.extra[name][: cut + 1], other.extra[name][: cut + 1])
    assert any((one.extra[name][cut + 1 :] != other.extra[name][cut + 1 :]).any() for name in names)


def test_slices_have_what_the_batch_gives() -> None:
    """Bar by bar, slices are given the batch's values."""
    panel, rows, age = bars(), random_rows(4), timedelta(days=9)
    whole = attach_series(panel, rows, max_age=age)
    records = PointInTimeRecords(series=ExternalSeries(rows, (), age))
    for row, one in enumerate(panel.slices()):
        for name, values in records.annotate_slice(one).extra.items():
            np.testing.assert_array_equal(values, whole.extra[name][row], f"{name} at {row}")


def test_names_that_are_taken_or_unknown_are_refused() -> None:
    """A series may not be called like a column, and is among the observations; an age is above 0."""
    panel = bars(10)
    with pytest.raises(InputError, match="'cpi' is called like a column"):
        attach_series(attach_series(panel, cpi()), cpi())
    with pytest.raises(InputError, match="'close' is called like a column"):
        attach_series(panel, table(f"close,,{at('01-01')},2020-01-01,1"))
    with pytest.raises(UnknownNameError, match="unknown series 'gdp'"):
        attach_series(panel, cpi(), ("gdp",))
    with pytest.raises(InputError, match="max_age"):
        attach_series(panel, cpi(), max_age=timedelta(0))
    assert attach_series(panel, cpi().slice(0, 0)).extra == {}


def test_files_give_what_tables_give(tmp_path: Path) -> None:
    """CSV and Parquet with texts or with types give the same; time zones are turned into UTC; columns that
    may be missing stand for all symbols and for the moment of publication.
    """
    rows = [
        f"cpi,,{at('01-10')},2019-12-01,1.0",
        "cpi,,2020-01-20T07:00:00-05:00,2019-12-01T00:00:00Z,1.1",
        f"cpi,,{at('02-15')},2020-01-01,2.0",
        f"cpi,,{at('02-20')},2019-12-01,1.2",
    ]
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    pq.write_table(cpi(), tmp_path / "texts.parquet")
    pq.write_table(normalise_observations(cpi()), tmp_path / "typed.parquet")
    for name in ("a.csv", "texts.parquet", "typed.parquet"):
        assert read_observations(tmp_path / name) == normalise_observations(cpi()), name
    (tmp_path / "short.CSV").write_text(
        f"Series,Published,Value\nx,{at('01-10')},nan\n\n", encoding="utf-8-sig"
    )
    short = read_observations(tmp_path / "short.CSV").to_pylist()[0]
    assert short["symbol"] == "" and short["effective"] == short["published"] and short["value"] is None


GOOD = f"cpi,,{at('01-10')},2019-12-01,1.0"
BAD = {
    "empty": ("", "is empty"),
    "no column": ("series,value\ncpi,1\n", "'published' is missing"),
    "strange column": (f"{HEADER},ticker\n{GOOD},A\n", "unknown column 'ticker'"),
    "column twice": (f"{HEADER},value\n{GOOD},1\n", "named twice"),
    "ragged": (f"{HEADER}\n{GOOD},9\n", "row 1 has 6 cells"),
    "no series": (f"{HEADER}\n{GOOD[3:]}\n", "'series': row 1 is empty"),
    "no moment": (f"{HEADER}\n{GOOD}\ncpi,,,2020-01-01,1\n", "'published': row 2 is empty"),
    "not a moment": (f"{HEADER}\ncpi,,yesterday,2020-01-01,1\n", "'yesterday' is no moment"),
    "no zone": (f"{HEADER}\ncpi,,2020-01-10T12:00:00,2020-01-01,1\n", "has no time zone"),
    "bare date": (f"{HEADER}\ncpi,,2020-01-10,2020-01-01,1\n", "has no time zone"),
    "too early": (f"{HEADER}\ncpi,,0001-01-01T00:00:00+14:00,2020-01-01,1\n", "out of range"),
    "before 1678": (f"{HEADER}\ncpi,,1600-01-01T00:00:00Z,2020-01-01,1\n", "1678"),
    "not a number": (f"{HEADER}\ncpi,,{at('01-10')},2020-01-01,high\n", "'high' is not a number"),
    "infinite": (f"{HEADER}\ncpi,,{at('01-10')},2020-01-01,inf\n", "infinite"),
    "two values": (f"{HEADER}\n{GOOD}\n{GOOD}1\n", "keep one"),
    "of all and of one": (f"{HEADER}\n{GOOD}\ncpi,A,{at('01-11')},2020-01-01,1\n", "two names"),
    "quote": (f'{HEADER}\n"cpi,,x\n', "cannot be read as CSV"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_no_observations_are_refused(tmp_path: Path, kind: str) -> None:
    """Each malformed file gets an error that names the file and what is wrong, with its row."""
    text, words = BAD[kind]
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words) as raised:
        read_observations(path)
    assert "bad.csv" in str(raised.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """No file, another kind, bytes that are neither text nor Parquet, moments without a zone."""
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_observations(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        read_observations(tmp_path / "x.xlsx")
    for name in ("bytes.csv", "bytes.parquet"):
        (tmp_path / name).write_bytes(bytes(range(128, 256)))
        with pytest.raises(DataError, match="cannot be read"):
            read_observations(tmp_path / name)
    times = pa.array(np.array(["2020-01-01T09:00"], dtype="datetime64[us]"))
    naive = pa.table({"series": ["x"], "published": times, "value": [1.0]})
    pq.write_table(naive, tmp_path / "naive.parquet")
    with pytest.raises(DataError, match="has no time zone"):
        read_observations(tmp_path / "naive.parquet")
    numbers = pa.table({"series": ["x"], "published": [5], "value": [1.0]})
    with pytest.raises(DataError, match="'5' is no moment"):
        normalise_observations(numbers)


def test_fuzzed_files_never_do_worse_than_an_error(tmp_path: Path) -> None:
    """Four hundred damaged CSV files are read or refused with our own error; nothing else is raised."""
    random = np.random.default_rng(5)
    good = ("\n".join([HEADER, GOOD, f"mood,A,{at('01-11')},2020-01-11,0.5"]) + "\n").encode()
    path = tmp_path / "fuzzed.csv"
    refused = 0
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(int(random.integers(1, 6))):
            damaged[int(random.integers(0, len(damaged)))] = int(random.integers(0, 256))
        path.write_bytes(bytes(damaged))
        try:
            read_observations(path)
        except DataError:
            refused += 1
    assert 100 < refused < 400

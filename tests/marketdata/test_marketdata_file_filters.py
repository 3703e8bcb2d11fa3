"""Dates and symbols that are asked for: the same rows as without, whatever a file writes its times in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from alphaloop.errors import DataError
from marketdata.files.folder_source import FolderSource
from marketdata.sources.folder import FAMILY

DAYS = [date(2019, 1, 2) + timedelta(days=count) for count in range(120)]
START, END = datetime(2019, 2, 1, tzinfo=UTC), datetime(2019, 3, 1, 23, 59, tzinfo=UTC)
# From 1 February to 1 March, both included.
EXPECTED = 29


def texts(form: str) -> Callable[[], pa.Array]:
    """The days as texts of this form."""
    return lambda: pa.array([day.strftime(form) for day in DAYS])


def stamps(kind: pa.DataType) -> Callable[[], pa.Array]:
    """21:00 of each day as this kind of time stamp."""
    moments = np.array(DAYS, dtype="datetime64[s]") + np.timedelta64(21, "h")
    return lambda: pa.array(moments).cast(kind)


FORMS: dict[str, Callable[[], pa.Array]] = {
    "iso": texts("%Y-%m-%d"),
    "basic": texts("%Y%m%d"),
    "iso week": texts("%G-W%V-%u"),
    "basic week": texts("%GW%V%u"),
    "blank before": texts(" %Y-%m-%d"),
    "iso time": texts("%Y-%m-%dT21:00:00Z"),
    "basic time": texts("%Y%m%dT210000Z"),
    "week time": texts("%G-W%V-%uT21:00:00+00:00"),
    "large text": lambda: texts("%Y%m%d")().cast(pa.large_string()),
    "categories": lambda: texts("%Y%m%d")().dictionary_encode(),
    "date32": lambda: pa.array(DAYS, pa.date32()),
    "date64": lambda: pa.array(DAYS, pa.date64()),
    "seconds": stamps(pa.timestamp("s")),
    "milliseconds": stamps(pa.timestamp("ms", tz="America/New_York")),
    "microseconds": stamps(pa.timestamp("us", tz="UTC")),
    "nanoseconds": stamps(pa.timestamp("ns")),
}


def found(source: FolderSource, *bounds: datetime | None) -> list[datetime]:
    """The times of the rows between two bounds."""
    times: list[datetime] = source.history((), *bounds)["timestamp"].to_pylist()
    return times


TEXTS = [form for form in FORMS if pa.types.is_string(FORMS[form]().type)]


@pytest.mark.parametrize(
    ("kind", "form"), [("parquet", form) for form in FORMS] + [("csv", form) for form in TEXTS]
)
def test_every_form_of_time_is_cut_as_it_is_read(tmp_path: Path, kind: str, form: str) -> None:
    """A first and a last day take those rows that lie between them, and no others."""
    column = FORMS[form]()
    bars = pa.table({"symbol": ["KO"] * len(DAYS), "date": column, "close": np.arange(1.0, len(DAYS) + 1)})
    if kind == "parquet":
        pq.write_table(bars, tmp_path / "a.parquet", row_group_size=10)
    else:
        lines = [f"KO,{cell},1.0" for cell in column.to_pylist()]
        (tmp_path / "a.csv").write_text("symbol,date,close\n" + "\n".join(lines) + "\n")
    source = FAMILY.find(f"{tmp_path}?timezone=UTC")
    whole = found(source)
    assert len(whole) == len(DAYS)
    assert found(source, START, END) == [one for one in whole if START <= one <= END]
    assert len(found(source, START, END)) == EXPECTED
    assert found(source, None, END) == [one for one in whole if one <= END]
    assert found(source, START) == [one for one in whole if one >= START]


@pytest.mark.parametrize(
    "form",
    [
        "symbol=KO/year=%Y",
        "symbol=KO/year=%Y/month=%m",
        "year=%Y/month=%m/day=%d/symbol=KO",
        "symbol=KO/date=%Y-%m-%d",
        "symbol=KO/date=%Y%m%d",
        "symbol=KO/date=%G-W%V-%u",
        "symbol=KO/Date=%Y-%m-%d",
        "symbol=KO/trade_date=%Y%m%d",
        "symbol=KO/month=%m",
        "symbol=KO/year=%Y/week=%V",
    ],
)
def test_every_partition_is_cut_as_it_is_read(tmp_path: Path, form: str) -> None:
    """Whatever the folders are called, days that are asked for leave out no bar of theirs."""
    folders: dict[str, list[date]] = {}
    for day in DAYS[::3]:
        folders.setdefault(day.strftime(form), []).append(day)
    for name, days in folders.items():
        (tmp_path / name).mkdir(parents=True)
        pq.write_table(pa.table({"date": days, "close": [1.0] * len(days)}), tmp_path / name / "a.parquet")
    source = FAMILY.find(str(tmp_path))
    whole = found(source)
    assert len(whole) == len(DAYS[::3])
    assert found(source, START, END) == [one for one in whole if START <= one <= END] != []


def test_a_bar_may_close_long_after_the_day_of_its_partition(tmp_path: Path) -> None:
    """Weeks and months lie in folders of their first day, and are found by their close."""
    for frequency, first, close in (
        ("1w", "2019-01-07", datetime(2019, 1, 11, 21, tzinfo=UTC)),
        ("1M", "2019-01-02", datetime(2019, 1, 31, 21, tzinfo=UTC)),
        ("3M", "2019-01-02", datetime(2019, 3, 29, 20, tzinfo=UTC)),
    ):
        part = tmp_path / frequency / "symbol=KO" / f"date={first}"
        part.mkdir(parents=True)
        pq.write_table(pa.table({"timestamp": [close], "close": [1.0]}), part / "a.parquet")
        source = FAMILY.find(f"{tmp_path / frequency}?frequency={frequency}")
        assert found(source, close - timedelta(hours=1)) == found(source) == [close]


@pytest.mark.parametrize(
    ("days", "query"),
    [
        (np.arange("2019-01-07", "2020-06-01", 7, dtype="datetime64[D]"), "stamp=open"),
        (np.arange("2019-01-07", "2020-06-01", 7, dtype="datetime64[D]"), "stamp=open&frequency=1w"),
        (np.arange("2018-01", "2021-01", dtype="datetime64[M]").astype("datetime64[D]"), "stamp=open"),
        (np.arange("2019-01-07", "2020-06-01", 7, dtype="datetime64[D]"), "stamp=open&frequency=5d"),
    ],
    ids=["weeks", "weeks that are told", "months", "five days"],
)
def test_a_few_days_of_long_bars_mean_what_all_of_them_mean(
    tmp_path: Path, days: np.ndarray, query: str
) -> None:
    """The steps between bars tell weeks from days: one that is read alone closes when it closes among all."""
    bars = pa.table({"symbol": ["KO"] * len(days), "date": days, "close": np.arange(1.0, len(days) + 1)})
    pq.write_table(bars, tmp_path / "a.parquet", row_group_size=5)
    source = FAMILY.find(f"{tmp_path}?{query}")
    whole = found(source)
    for place in range(0, len(whole) - 1, 4):
        moment = whole[place]
        assert found(source, moment, moment) == [moment]
        assert found(source, moment, whole[place + 1]) == whole[place : place + 2]


def test_a_bar_in_the_folder_of_another_year_is_an_error(tmp_path: Path) -> None:
    """It would be missed whenever days are asked for, so it is told where all are read."""
    part = tmp_path / "symbol=KO" / "year=2019"
    part.mkdir(parents=True)
    pq.write_table(
        pa.table({"date": [date(2019, 5, 1), date(2021, 5, 3)], "close": [1.0, 2.0]}), part / "a.parquet"
    )
    with pytest.raises(DataError, match=r"year=2019/a\.parquet: it holds a bar of 2021-05-03"):
        FAMILY.find(str(tmp_path)).history()


def test_a_row_without_a_time_or_symbol_is_told_with_and_without_a_filter(tmp_path: Path) -> None:
    """Days and symbols that are asked for do not drop a row that is an error."""
    for name, row in (("timestamp", {"symbol": "KO", "timestamp": None}), ("symbol", {"symbol": None})):
        good = [{"symbol": "KO", "timestamp": datetime(2019, 2, 4, 21, tzinfo=UTC), "close": 1.0}] * 2
        where = tmp_path / name
        where.mkdir()
        pq.write_table(pa.Table.from_pylist([*good, {**good[0], **row}]), where / "a.parquet")
        source = FAMILY.find(str(where))
        for asked in (((), None, None), (("KO",), START, END)):
            with pytest.raises(DataError, match=f"column '{name}', row 3 is None"):
                source.history(*asked)


def test_symbols_with_blanks_around_them_are_found_by_name(tmp_path: Path) -> None:
    """Columns of fixed width fill names with blanks; asking for a name finds its rows all the same."""
    names = [name for name in ("AB  ", "KO  ", "LONG") for _ in range(3)]
    bars = pa.table({"symbol": names, "date": DAYS[:3] * 3, "close": [1.0] * 9})
    pq.write_table(bars, tmp_path / "a.parquet")
    source = FAMILY.find(str(tmp_path))
    assert source.symbols() == ("AB", "KO", "LONG")
    table = source.history(("KO",))
    assert pc.unique(table["symbol"]).to_pylist() == ["KO"]
    assert table.num_rows == 3

"""Folders of bars: read as far as asked for, whatever their files call things, and added to."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from alphaloop.bars import BARS_SCHEMA
from alphaloop.errors import DataError, InputError, UnknownNameError
from marketdata.files.bar_columns import BarColumns
from marketdata.files.folder_source import FolderSource
from marketdata.files.location import FileStorage
from marketdata.sources import registry
from marketdata.sources.folder import FAMILY
from marketdata.storage.incremental import update_snapshot
from marketdata.storage.snapshots import SnapshotStore


class CountingFiles(fs.FileSystemHandler):
    """The local file system, counting the bytes that are read of each file."""

    def __init__(self) -> None:
        self.local = fs.LocalFileSystem()
        self.read: Counter[str] = Counter()

    def open_input_file(self, path: str) -> Any:
        return pa.PythonFile(_Counted(path, self.read), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def get_file_info(self, paths: list[str]) -> Any:
        return self.local.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> Any:
        return self.local.get_file_info(selector)

    def get_type_name(self) -> str:
        return "counting"

    def normalize_path(self, path: str) -> str:
        return path

    def _refuse(self, *_: Any) -> Any:
        raise NotImplementedError("nothing is written here")

    copy_file = create_dir = delete_dir = delete_dir_contents = delete_file = move = _refuse
    delete_root_dir_contents = open_append_stream = open_output_stream = _refuse


class _Counted:
    def __init__(self, path: str, read: Counter[str]) -> None:
        self._file, self._path, self._read = Path(path).open("rb"), path, read  # noqa: SIM115
        read[path] += 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._read[self._path] += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def folder(path: Path, query: str = "") -> FolderSource:
    """The source at a path."""
    return FAMILY.find(f"{path}{query}")


def days(count: int, symbol: str = "KO", start: str = "2019-01-02") -> pa.Table:
    """Bars of one symbol round the clock, a day each, at midnight."""
    times = np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(1, "D")
    prices = 50 + np.arange(count) / 8
    columns = {"symbol": [symbol] * count, "timestamp": pa.array(times), "adjustment": np.ones(count)}
    columns |= dict.fromkeys(("open", "high", "low", "close"), prices)
    return pa.table({**columns, "volume": np.full(count, 9.0)}).select(BARS_SCHEMA.names).cast(BARS_SCHEMA)


def test_of_a_parquet_file_only_columns_and_row_groups_asked_for_are_read(
    tmp_path: Path, table: pa.Table
) -> None:
    """Of a large file, a week of one symbol costs a small part of its bytes; the rest is not read."""
    path = tmp_path / "bars.parquet"
    many = pa.concat_tables([days(20_000, symbol, "1990-01-01") for symbol in ("AAA", "BBB", "CCC")])
    noise = pa.array(np.random.default_rng(1).normal(size=len(many)))
    wide = many.append_column("not_asked_for", noise).append_column("sentiment", noise)
    pq.write_table(wide, path, row_group_size=2_000, compression="none")
    counting = CountingFiles()
    storage = FileStorage(str(tmp_path), override=fs.PyFileSystem(counting))
    source = FolderSource(storage, BarColumns("24/7", extra=("sentiment",)), "24/7")
    start = datetime(2020, 1, 1, tzinfo=UTC)
    found = source.history(("BBB",), start, start + timedelta(days=7))
    assert (found.num_rows, found.schema.names[-1]) == (8, "sentiment")
    assert set(found["symbol"].to_pylist()) == {"BBB"}
    assert counting.read[str(path)] < path.stat().st_size / 8
    whole = CountingFiles()
    FolderSource(
        FileStorage(str(tmp_path), override=fs.PyFileSystem(whole)), BarColumns("24/7"), "24/7"
    ).history()
    assert whole.read[str(path)] > path.stat().st_size / 2


def test_partitions_and_titles_that_cannot_hold_the_bars_are_not_opened(tmp_path: Path) -> None:
    """By symbol, year, month and date, only the files that may hold a bar asked for are opened."""
    paths = {
        "symbol=AAA/year=2019/month=3/a.parquet": days(31, "AAA", "2019-03-01"),
        "symbol=AAA/year=2019/month=12/b.parquet": days(31, "AAA", "2019-12-01"),
        "symbol=BBB/year=2019/c.parquet": days(31, "BBB", "2019-03-01"),
        "symbol=AAA/date=2020-06-01/d.parquet": days(1, "AAA", "2020-06-01"),
    }
    for name, bars in paths.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(bars.drop_columns(["symbol"]), tmp_path / name)
    counting = CountingFiles()
    storage = FileStorage(str(tmp_path), override=fs.PyFileSystem(counting))
    source = FolderSource(storage, BarColumns("24/7"), "24/7")
    assert source.symbols() == ("AAA", "BBB")
    assert not counting.read
    found = source.history(("AAA",), datetime(2019, 3, 10, tzinfo=UTC), datetime(2019, 3, 20, tzinfo=UTC))
    assert (found.num_rows, [Path(path).name for path in counting.read]) == (11, ["a.parquet"])
    counting.read.clear()
    assert source.history((), datetime(2020, 5, 31, tzinfo=UTC)).num_rows == 1
    assert [Path(path).name for path in counting.read] == ["d.parquet"]


def test_a_flat_folder_of_csv_files_is_called_after_its_symbols(tmp_path: Path) -> None:
    """Files as vendors give them: one a symbol, `Date` and `Adj Close`; the adjustment begins at 1."""
    rows = ["2020-08-27,500,400", "2020-08-28,510,408", "2020-08-31,130,416", "2020-09-01,140,448"]
    for symbol in ("AAPL", "KO"):
        lines = ["Date,Close,Adj Close", *rows]
        (tmp_path / f"{symbol}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "_SUCCESS").write_text("")
    source = folder(tmp_path)
    found = source.history(("AAPL",))
    assert source.symbols() == ("AAPL", "KO")
    assert found["adjustment"].to_pylist() == [1.0, 1.0, 4.0, 4.0]
    assert [moment.isoformat() for moment in found["timestamp"].to_pylist()][2:] == [
        "2020-08-31T20:00:00+00:00",
        "2020-09-01T20:00:00+00:00",
    ]
    assert source.history()["symbol"].to_pylist() == ["AAPL", "KO"] * 4


def test_a_later_action_changes_no_earlier_adjustment(tmp_path: Path) -> None:
    """A file made anew after another split, its adjusted closes all halved, gives the same bars."""
    rows = [("2020-08-28", 510, 408), ("2020-08-31", 130, 416)]
    found = []
    for scale in (1, 2):
        lines = [
            "Date,Close,Adj Close",
            *(f"{day},{close},{adjusted / scale}" for day, close, adjusted in rows),
        ]
        (tmp_path / "AAPL.csv").write_text("\n".join(lines) + "\n")
        found.append(folder(tmp_path).history())
    assert found[0].equals(found[1])


def test_columns_are_found_by_their_usual_names_and_by_those_given(tmp_path: Path) -> None:
    """Ticker, Time, Vol and a name from the address map to the schema; two candidates are refused."""
    text = "Ticker,Time,PX Last,Vol\nKO,2020-01-02T21:00:00Z,55.5,7\n"
    (tmp_path / "bars.csv").write_text(text)
    found = folder(tmp_path, "?close=px_last").history()
    assert found.to_pylist()[0]["close"] == 55.5
    assert found.to_pylist()[0]["volume"] == 7.0
    (tmp_path / "bars.csv").write_text("Ticker,Date,Time,Close\nKO,2020-01-02,21:00,1\n")
    with pytest.raises(DataError, match="'Date' and 'Time' could both be the timestamp"):
        folder(tmp_path).history()


def test_times_without_a_zone_are_refused_unless_it_is_given(tmp_path: Path) -> None:
    """Naive times, as text and as Parquet timestamps, are an error until their zone is named."""
    naive = pa.table(
        {
            "symbol": ["KO"],
            "timestamp": pa.array([np.datetime64("2020-07-01T16:00:00", "us")]),
            "close": [45.0],
        }
    )
    pq.write_table(naive, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 'timestamp', row 1.*time zone"):
        folder(tmp_path).history()
    zoned = folder(tmp_path, "?timezone=America/New_York")
    assert zoned.history()["timestamp"].to_pylist()[0] == datetime(2020, 7, 1, 20, tzinfo=UTC)
    (tmp_path / "a.parquet").unlink()
    (tmp_path / "b.csv").write_text("symbol,timestamp,close\nKO,2020-07-01T16:00:00,45\n")
    with pytest.raises(DataError, match=r"b\.csv: column 'timestamp', row 1"):
        folder(tmp_path).history()
    assert zoned.history()["timestamp"].to_pylist()[0] == datetime(2020, 7, 1, 20, tzinfo=UTC)
    (tmp_path / "b.csv").write_text("symbol,timestamp,close\nKO,2020-11-01T01:30:00,45\n")
    with pytest.raises(DataError, match="column 'timestamp', row 1"):
        zoned.history()


def test_new_files_become_a_delta_and_adjustments_are_carried_on(tmp_path: Path) -> None:
    """A file added later is appended; its factors, which begin anew, continue those that are stored."""
    home, store = tmp_path / "bars", SnapshotStore(tmp_path / "store")
    home.mkdir()
    head = "symbol,date,close,adj close\n"
    (home / "one.csv").write_text(head + "KO,2020-01-02,50,40\nKO,2020-01-03,51,40.8\n")
    base = update_snapshot(store, folder(home))
    assert update_snapshot(store, folder(home)) == base
    (home / "two.csv").write_text(head + "KO,2020-01-06,25,40\n")
    delta = update_snapshot(store, folder(home))
    assert (delta.parent, delta.rows) == (base.id, 3)
    assert store.load(delta.id)["adjustment"].to_pylist() == pytest.approx([1, 1, 2], rel=1e-12)
    (home / "two.csv").write_text(head + "KO,2020-01-06,25,80\nKO,2020-01-07,26,83.2\n")
    (home / "one.csv").write_text(head + "KO,2020-01-02,50,80\nKO,2020-01-03,51,81.6\n")
    last = update_snapshot(store, folder(home))
    assert store.load(last.id)["adjustment"].to_pylist() == pytest.approx([1, 1, 2, 2], rel=1e-12)


def test_an_update_of_bad_bars_stores_nothing(tmp_path: Path) -> None:
    """New rows that the rules reject leave the newest snapshot as it was."""
    home, store = tmp_path / "bars", SnapshotStore(tmp_path / "store")
    home.mkdir()
    (home / "one.csv").write_text("symbol,date,close\nKO,2020-01-02,50\n")
    base = update_snapshot(store, folder(home))
    (home / "two.csv").write_text("symbol,date,close\nKO,2020-01-03,-50\n")
    with pytest.raises(DataError, match=r"\[price\] KO at 2020-01-03"):
        update_snapshot(store, folder(home))
    assert store.latest() == base


def test_the_registry_finds_folders_by_their_address(tmp_path: Path) -> None:
    """`folder:` and an address is a source; options, symbols and addresses that are wrong are named."""
    pq.write_table(days(3), tmp_path / "a.parquet")
    source = registry.find_source(f"folder:{tmp_path}?calendar=24/7&frequency=1d")
    assert source.history().equals(days(3))
    assert source.name == f"folder:{tmp_path}"
    assert source.calendar == "24/7"
    with pytest.raises(UnknownNameError, match=r"unknown symbol 'PEP'.*known: KO"):
        source.history(("PEP",))
    assert source.history(("KO",), datetime(2030, 1, 1, tzinfo=UTC)).num_rows == 0
    with pytest.raises(DataError, match="'1h'"):
        source.history(frequency="1h")
    for address, kind, words in (
        ("folder:", InputError, "needs an address"),
        (f"folder:{tmp_path}?colour=red", UnknownNameError, "unknown option 'colour'"),
        (f"folder:{tmp_path}?calendar=MARS", UnknownNameError, "unknown calendar 'MARS'"),
        (f"folder:{tmp_path}?timezone=Mars/Olympus", InputError, "no time zone 'Mars/Olympus'"),
    ):
        with pytest.raises(kind, match=words):
            registry.find_source(address)


def test_folders_without_bars_are_named(tmp_path: Path) -> None:
    """A folder that is not there, one without data files, and a partition that is no date."""
    with pytest.raises(DataError, match="there is no such file or folder"):
        folder(tmp_path / "none").history()
    with pytest.raises(DataError, match="no file here that ends in"):
        folder(tmp_path).history()
    (tmp_path / "year=MMXX").mkdir()
    pq.write_table(days(1), tmp_path / "year=MMXX" / "a.parquet")
    with pytest.raises(DataError, match=r"year=MMXX/a\.parquet: its partition is no date"):
        folder(tmp_path).history()


def test_a_compressed_csv_and_parquet_lie_side_by_side(tmp_path: Path, table: pa.Table) -> None:
    """Formats may be mixed; rows of all files come sorted, and none is lost."""
    half = table.num_rows // 2
    pq.write_table(table.slice(half), tmp_path / "b.parquet")
    texts = pc.strftime(table["timestamp"], format="%Y-%m-%dT%H:%M:%SZ")
    with pa.output_stream(str(tmp_path / "a.csv.gz"), compression="gzip") as out:
        pyarrow.csv.write_csv(table.set_column(1, "timestamp", texts).slice(0, half), out)
    assert folder(tmp_path).history().equals(table)

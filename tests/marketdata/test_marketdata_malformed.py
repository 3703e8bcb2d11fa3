"""Files that are not what they should be: each gets a clear line, and none brings the process down."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alphaloop.bars import BARS_SCHEMA
from alphaloop.errors import DataError
from marketdata.files.file_source import FileSource
from marketdata.quality.checks import check_bars
from marketdata.sources.folder import FAMILY

HEAD = "symbol,timestamp,close"
ROW = "KO,2020-01-02,55.5"

CSV = {
    "empty": (b"", "column 'timestamp' is missing"),
    "blank header": (b"\n\n\n", "bars.csv"),
    "binary": (bytes(range(256)) * 4, "column 'timestamp' is missing"),
    "latin": (
        f"{HEAD}\nKO,2020-01-02,55.5\nCAF\xc9,2020-01-02,1\n".encode("latin-1"),
        "cannot be read as csv",
    ),
    "ragged": (f"{HEAD}\n{ROW}\nKO,2020-01-03\n".encode(), "Expected 3 columns, got 2"),
    "no close": (
        b"symbol,timestamp,last price\nKO,2020-01-02,1\n",
        "column 'close' is missing; it has: symbol",
    ),
    "twice": (
        b"symbol,timestamp,close,Close\nKO,2020-01-02,1,2\n",
        "'close' and 'Close' could both be the close",
    ),
    "word for a number": (f"{HEAD}\n{ROW}\nKO,2020-01-03,n/a\n".encode(), "column 'close', row 2 is 'n/a'"),
    "day first": (
        f"{HEAD}\nKO,13.01.2020,1\n".encode(),
        "column 'timestamp', row 1 is '13.01.2020'; write 2019",
    ),
    "no zone": (f"{HEAD}\n{ROW}\nKO,2020-01-03T16:00,1\n".encode(), "column 'timestamp', row 2"),
    "year 9999": (f"{HEAD}\nKO,9999-12-31,1\n".encode(), "column 'timestamp', row 1 is '9999-12-31'"),
    "nameless": (f"{HEAD}\n{ROW}\n,2020-01-03,1\n".encode(), "column 'symbol', row 2 is ''"),
    "unclosed quote": (f'{HEAD}\n"KO,2020-01-02,1\n{ROW}\n'.encode(), "bars.csv"),
}


@pytest.mark.parametrize("kind", CSV)
def test_malformed_csv_files_are_named_with_the_place(tmp_path: Path, kind: str) -> None:
    """A malformed CSV is one line that names file and place, as a file and in a folder."""
    content, words = CSV[kind]
    (tmp_path / "bars.csv").write_bytes(content)
    named = b"symbol" in content or kind == "binary"
    for source in (FileSource(tmp_path / "bars.csv"), *([FAMILY.find(str(tmp_path))] if named else [])):
        with pytest.raises(DataError) as caught:
            source.history()
        assert words in str(caught.value)
        assert "bars.csv" in str(caught.value)
        assert "\n" not in str(caught.value)


def bars(**columns: Any) -> pa.Table:
    """Two good bars, with other columns instead where they are given."""
    stamps = pa.array([datetime(2020, 1, day, 21, tzinfo=UTC) for day in (2, 3)])
    return pa.table({"symbol": ["KO", "KO"], "timestamp": stamps, "close": [1.0, 2.0]} | columns)


def far() -> pa.Array:
    """Times that seconds can hold and nanoseconds cannot."""
    return pa.array([datetime(5000, 1, 1, tzinfo=UTC)] * 2, pa.timestamp("s", tz="UTC"))


PARQUET = {
    "no parquet": (b"this is no parquet", "cannot be read as parquet"),
    "nothing": (b"", "cannot be read as parquet"),
    "magic alone": (b"PAR1PAR1", "cannot be read as parquet"),
    "cut off": (-40, "cannot be read as parquet"),
    "rotten page": (4, "cannot be read as parquet"),
    "no close": (bars().drop_columns(["close"]), "column 'close' is missing; it has: symbol, timestamp"),
    "no symbol": (bars().drop_columns(["symbol"]), "column 'symbol' is missing"),
    "bytes for numbers": (bars(close=[b"x", b"y"]), "column 'close' holds no numbers"),
    "lists for numbers": (bars(close=[[1.0], [2.0]]), "column 'close' holds no numbers"),
    "word for a number": (bars(close=["1.5", "one"]), "column 'close', row 2 is 'one'"),
    "no zone": (bars(timestamp=pa.array([datetime(2020, 1, 2, 16), None], pa.timestamp("us"))), "row 1"),  # noqa: DTZ001
    "a number for a time": (bars(timestamp=[1_577_998_800, 1_578_085_200]), "row 1 is 1577998800"),
    "lists for times": (bars(timestamp=[[1], [2]]), "column 'timestamp' holds list"),
    "a null for a time": (bars(timestamp=pa.array([date(2020, 1, 2), None])), "row 2 is None"),
    "the year 5000": (bars(timestamp=far()), "column 'timestamp'"),
    "a null for a symbol": (bars(symbol=["KO", None]), "column 'symbol', row 2 is None"),
    "symbols that are numbers": (bars(symbol=[[1], [2]]), "column 'symbol' holds no texts"),
    "two candidates": (bars(Close=[1.0, 2.0]), "'close' and 'Close' could both be the close"),
}


@pytest.mark.parametrize("kind", PARQUET)
def test_malformed_parquet_files_are_named_with_the_place(tmp_path: Path, kind: str) -> None:
    """A malformed Parquet file is one line that names file and place."""
    content, words = PARQUET[kind]
    path = tmp_path / "bars.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, int):
        pq.write_table(bars(), path)
        whole = path.read_bytes()
        path.write_bytes(
            whole[:content] if content < 0 else whole[:content] + b"\xff" * 60 + whole[content + 60 :]
        )
    else:
        pq.write_table(content, path)
    with pytest.raises(DataError) as caught:
        FileSource(path).history()
    assert words in str(caught.value)
    assert "bars.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


SCRAPS = (
    b"", b",", b"\n", b"\r\n", b'"', b"\x00", b"\xff\xfe", b"nan", b"inf", b"-1", b"1e400", b"0x1F", b"1_0",
    b"9999-12-31", b"0001-01-01", b"2020-02-30", b"2020-01-02T25:00Z", b"2020-01-02T21:00:00+99:00",
    b"2262-04-12", b"1677-01-01", b"24:00", b"=1+1", b"KO,KO,KO,KO,KO", "é𝄞".encode(), b" " * 300, b"close",
)  # fmt: skip


def fuzzed(random: np.random.Generator) -> bytes:
    """A good file of bars with a few bytes or cells replaced, cut, doubled or moved."""
    names = ["symbol", "timestamp", "open", "high", "low", "close", "volume", "adj close"]
    rows = [
        f"{symbol},2020-01-{day:02d}{'T21:00:00Z' if day % 2 else ''},1,3,1,{day},10,{day / 2}"
        for day in (2, 3, 6, 7, 8)
        for symbol in ("KO", "PEP")
    ]
    content = "\n".join([",".join(names), *rows, ""]).encode()
    for _ in range(1 + int(random.random() < 0.3)):
        first, last = np.sort(random.integers(0, len(content) + 1, 2))
        last = min(last, first + random.integers(0, 12))
        scrap = SCRAPS[random.integers(len(SCRAPS))]
        choice = random.integers(7)
        if choice == 0:
            content = content[:first] + scrap + content[last:]
        elif choice == 1:
            content = content[:first] + bytes(random.integers(0, 256, 3, dtype=np.uint8)) + content[last:]
        elif choice == 2:
            content = content[:last] + content[first:]
        elif choice == 3:
            content = content[: max(first, 1)]
        else:
            content = with_cell(content, random, scrap)
    return content


def with_cell(content: bytes, random: np.random.Generator, scrap: bytes) -> bytes:
    """The file with one cell below its header replaced."""
    lines = content.split(b"\n")
    row = random.integers(1, max(len(lines) - 1, 2))
    cells = lines[row].split(b",") if row < len(lines) else [b""]
    cells[random.integers(len(cells))] = scrap if random.random() < 0.5 else b"%d" % random.integers(-5, 2030)
    return b"\n".join([*lines[:row], b",".join(cells), *lines[row + 1 :]])


def survive(folder: Path, count: int, seed: int) -> tuple[int, int]:
    """Read and check so many fuzzed files; how many were tables, and how many errors."""
    random = np.random.default_rng(seed)
    tables = errors = 0
    path = folder / "bars.csv"
    for _ in range(count):
        path.write_bytes(fuzzed(random))
        for source in (FileSource(path), FAMILY.find(str(folder))):
            try:
                table = source.history()
                assert table.schema.names == BARS_SCHEMA.names
                check_bars(table, "XNYS")
                tables += 1
            except DataError as error:
                assert "\n" not in str(error)
                errors += 1
    return tables, errors


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_three_hundred_fuzzed_csv_files_are_tables_or_data_errors(tmp_path: Path) -> None:
    """Whatever is done to a CSV, reading and checking it gives a table or one line; both happen."""
    tables, errors = survive(tmp_path, 300, seed=1)
    assert min(tables, errors) > 60


@pytest.mark.long
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_ten_thousand_fuzzed_csv_files_are_tables_or_data_errors(tmp_path: Path) -> None:
    """The same ten thousand times."""
    tables, errors = survive(tmp_path, 10_000, seed=2)
    assert min(tables, errors) > 2_000


def flipped(random: np.random.Generator, genuine: bytes) -> bytes:
    """A Parquet file with a few bytes changed, or cut."""
    content = bytearray(genuine)
    for place in random.integers(0, len(content), random.integers(1, 8)):
        content[place] = random.integers(256)
    return bytes(content[: random.integers(8, len(content))] if random.random() < 0.1 else content)


@pytest.mark.parametrize("count", [150, pytest.param(3_000, marks=pytest.mark.long)])
def test_damaged_parquet_files_are_tables_or_data_errors(tmp_path: Path, count: int) -> None:
    """Whatever bytes of a Parquet file are changed, reading it gives a table or one line."""
    path, random = tmp_path / "bars.parquet", np.random.default_rng(3)
    pq.write_table(bars(), path)
    genuine, outcomes = path.read_bytes(), set()
    for _ in range(count):
        path.write_bytes(flipped(random, genuine))
        try:
            check_bars(FileSource(path).history(), "XNYS")
            outcomes.add("table")
        except DataError as error:
            assert "\n" not in str(error)
            outcomes.add("error")
    assert outcomes == {"table", "error"}

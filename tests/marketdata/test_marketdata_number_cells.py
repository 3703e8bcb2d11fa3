"""Numbers in files: what people write is read, and what only a programming language reads is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alphaloop.errors import DataError
from marketdata.point_in_time.corporate_actions import read_actions
from marketdata.sources.folder import FAMILY

WRITTEN = {"1": 1.0, "1.5": 1.5, "+1.5": 1.5, ".5": 0.5, "1.": 1.0, "1e3": 1000.0, "2.5E-1": 0.25}
WRITTEN |= {" 7 ": 7.0, "0012.50": 12.5, "-3": -3.0, "0.1": 0.1, "123456789.123456789": 123456789.123456789}
REFUSED = (
    *("1_0.5", "1_000", "１２.5", "٣", "NAN(1)", "infinit", "nanny"),
    *("0x1p3", "0x10", "1d3", "1.5f", "1,5", "1,234.5", "$5", "5%", "--5", "+-5", "1e", "e5", ".", "n/a"),
    *("1 000", "1.2.3", "None", "NULL", "-", "−5", "True", "1e400"),
)


def closes(path: Path, cells: list[str], kind: str) -> list[float | None]:
    """The volumes of a file whose cells are these."""
    days = [f"2019-01-{day:02}" for day in range(2, 2 + len(cells))]
    if kind == "csv":
        lines = [f'KO,{day},1,"{cell}"' for day, cell in zip(days, cells, strict=True)]
        (path / "bars.csv").write_text("symbol,date,close,volume\n" + "\n".join(lines) + "\n")
    else:
        texts = pa.array(cells).cast(pa.large_string()) if kind == "large" else pa.array(cells)
        texts = texts.dictionary_encode() if kind == "categories" else texts
        table = {"symbol": ["KO"] * len(cells), "date": days, "close": [1.0] * len(cells), "volume": texts}
        pq.write_table(pa.table(table), path / "bars.parquet")
    found: list[float | None] = FAMILY.find(str(path)).history()["volume"].to_pylist()
    return found


@pytest.mark.parametrize("kind", ["csv", "text", "large", "categories"])
def test_numbers_are_read_as_people_write_them(tmp_path: Path, kind: str) -> None:
    """Signs, points, exponents and blanks around are of numbers; an empty cell is unknown."""
    assert closes(tmp_path, [*WRITTEN, "", "  "], kind) == [*WRITTEN.values(), None, None]


@pytest.mark.parametrize("cell", REFUSED)
def test_what_people_do_not_write_is_refused_by_row(tmp_path: Path, cell: str) -> None:
    """Python's underscores, other digits, other separators: each with its place."""
    for kind in ("csv", "categories"):
        with pytest.raises(DataError, match="column 'volume', row 2 is ") as caught:
            closes(tmp_path, ["1", cell, "2"], kind)
        assert repr(cell) in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "categories"])
def test_what_is_unknown_or_overflowed_is_left_to_the_quality_rules(tmp_path: Path, kind: str) -> None:
    """`nan` and `inf`, as numpy and pandas write them, are read: rules judge the bar."""
    found = closes(tmp_path, ["nan", "NaN", "-inf", "Infinity", "2"], kind)
    assert [None if one is None else str(one) for one in found] == ["nan", "nan", "-inf", "inf", "2.0"]


def test_columns_of_other_kinds_are_no_prices(tmp_path: Path) -> None:
    """A truth value is no price of 1, and a day none of its number."""
    for values in (pa.array([True]), pa.array([17_000]).cast(pa.int32()).cast(pa.date32())):
        pq.write_table(pa.table({"date": ["2019-01-02"], "close": values}), tmp_path / "KO.parquet")
        with pytest.raises(DataError, match=re.escape(f"holds no numbers, but {values.type}")):
            FAMILY.find(str(tmp_path)).history()


@pytest.mark.parametrize("cell", ["1_0", "１０", "inf", "0x10"])
def test_ratios_of_splits_and_years_of_folders_are_written_so_too(tmp_path: Path, cell: str) -> None:
    """What is no price is no split's ratio, and no year of a partition either."""
    actions = tmp_path / "actions.csv"
    head = "symbol,kind,ex_date,published,value"
    actions.write_text(f"{head}\nKO,split,2019-01-02,2018-12-01T12:00:00Z,{cell}\n")
    with pytest.raises(DataError, match=r"row 1, 'value' is"):
        read_actions(actions)
    part = tmp_path / "bars" / f"year={cell}"
    part.mkdir(parents=True)
    (part / "KO.csv").write_text("date,close\n2019-01-02,1\n")
    with pytest.raises(DataError, match=f"'{cell}' is no whole number"):
        FAMILY.find(str(tmp_path / "bars")).history()

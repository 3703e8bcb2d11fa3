"""Files of a folder: what each is called after, what two of them make together, and what is left out."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alphaloop.errors import DataError
from marketdata.files.folder_source import FolderSource
from marketdata.sources.folder import FAMILY

HEAD = "date,close\n"


def folder(path: Path, query: str = "") -> FolderSource:
    """The source at a path."""
    return FAMILY.find(f"{path}{query}")


def rows(source: FolderSource) -> list[tuple[str, str, float]]:
    """Symbol, day and close of each row."""
    return [
        (row["symbol"], row["timestamp"].date().isoformat(), row["close"])
        for row in source.history().to_pylist()
    ]


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".parquet", ".csv.gz"])
def test_a_file_is_called_by_its_whole_name_but_the_ending(tmp_path: Path, ending: str) -> None:
    """BRK.A and BRK.B are two symbols, in every format."""
    for symbol, price in (("BRK.A", 300_000.0), ("BRK.B", 200.0), ("RDS.A.L", 20.0)):
        path = tmp_path / (symbol + ending)
        if ending == ".parquet":
            pq.write_table(pa.table({"date": ["2019-01-02"], "close": [price]}), path)
        else:
            with pa.output_stream(str(path), compression="gzip" if ending == ".csv.gz" else None) as out:
                out.write(f"{HEAD}2019-01-02,{price}\n".encode())
    source = folder(tmp_path)
    assert source.symbols() == ("BRK.A", "BRK.B", "RDS.A.L")
    assert [close for _, _, close in rows(source)] == [300_000.0, 200.0, 20.0]


def test_a_bar_that_two_files_tell_alike_counts_once(tmp_path: Path) -> None:
    """A copy of a file, and years that overlap, add no second bar; what is twice in one file stays twice."""
    (tmp_path / "old").mkdir()
    (tmp_path / "KO.csv").write_text(HEAD + "2019-01-02,50\n2019-01-03,51\n")
    (tmp_path / "old" / "KO.csv").write_text(HEAD + "2019-01-03,51\n2019-01-04,52\n")
    expected = [("KO", "2019-01-02", 50.0), ("KO", "2019-01-03", 51.0), ("KO", "2019-01-04", 52.0)]
    assert rows(folder(tmp_path)) == expected
    (tmp_path / "old" / "KO.csv").write_text(HEAD + "2019-01-04,52\n2019-01-04,52\n")
    assert [day for _, day, _ in rows(folder(tmp_path))].count("2019-01-04") == 2


def test_a_bar_that_two_files_tell_differently_is_an_error_of_both(tmp_path: Path) -> None:
    """Which file is right cannot be known: both are named with the symbol, the time and the values."""
    (tmp_path / "KO.csv").write_text(HEAD + "2019-01-02,50\n2019-01-03,51\n")
    (tmp_path / "all.csv").write_text("symbol,date,close\nPEP,2019-01-03,80\nKO,2019-01-03,51.5\n")
    with pytest.raises(
        DataError, match=r"KO\.csv and .*all\.csv .*KO at 2019-01-03T21:00:00Z.*close is 51 .*51\.5"
    ):
        folder(tmp_path).history()
    assert folder(tmp_path).history(("PEP",)).num_rows == 1


def test_a_value_that_only_one_of_two_files_gives_is_a_difference(tmp_path: Path) -> None:
    """The volume of a bar is not lost to a second file that has none."""
    (tmp_path / "KO.csv").write_text(HEAD + "2019-01-02,50\n")
    pq.write_table(
        pa.table({"date": ["2019-01-02"], "close": [50.0], "volume": [7.0]}), tmp_path / "KO.parquet"
    )
    with pytest.raises(DataError, match="volume is not given in the first and 7 in the second"):
        folder(tmp_path).history()


def test_partitions_of_one_symbol_are_one_series(tmp_path: Path) -> None:
    """Years of a symbol in files of their own are joined in time, and no fault is found in that."""
    for year in (2019, 2020):
        part = tmp_path / "symbol=BRK.B" / f"year={year}"
        part.mkdir(parents=True)
        pq.write_table(pa.table({"date": [f"{year}-03-02"], "close": [float(year)]}), part / "a.parquet")
    assert rows(folder(tmp_path)) == [("BRK.B", "2019-03-02", 2019.0), ("BRK.B", "2020-03-02", 2020.0)]


def test_files_that_are_left_out_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A spreadsheet, and bars under a hidden name, are told; a README and the markers of writers are not."""
    (tmp_path / "KO.csv").write_text(HEAD + "2019-01-02,50\n")
    for name in ("PEP.xlsx", "README.md", "_VIX.csv", "_SUCCESS", ".DS_Store", ".KO.csv.crc"):
        (tmp_path / name).write_text("")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "KO-checkpoint.csv").write_text(HEAD + "2019-01-02,50\n")
    with caplog.at_level(logging.WARNING):
        assert folder(tmp_path).symbols() == ("KO",)
        folder(tmp_path).history()
    [told] = [record.getMessage() for record in caplog.records]
    assert told.endswith(": .ipynb_checkpoints/KO-checkpoint.csv, PEP.xlsx, _VIX.csv")


def test_a_folder_without_bars_says_what_it_has(tmp_path: Path) -> None:
    """Spreadsheets alone are an error that names them."""
    (tmp_path / "PEP.xlsx").write_text("")
    with pytest.raises(DataError, match=r"ends in \.csv or .*; it has: PEP\.xlsx"):
        folder(tmp_path).history()

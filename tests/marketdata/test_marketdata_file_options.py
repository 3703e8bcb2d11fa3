"""Options of a folder about its files: lines above a table, headers of several lines, forms of dates."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alphaloop.errors import AlphaloopError, DataError, InputError
from marketdata.sources import registry

# As yfinance writes it: names, tickers and the name of the index stand in three lines.
THREE_LINES = "Price,Close,High,Low,Open,Volume\nTicker,KO,KO,KO,KO,KO\nDate,,,,,\n"
ROWS = "2019-01-02,10,11,9,10.5,700\n2019-01-03,12,13,11,12.5,800\n"


def closes(path: Path, options: str) -> dict[str, float]:
    """The close of each bar by its time."""
    rows = registry.find_source(f"folder:{path}?{options}").history().to_pylist()
    return {f"{row['timestamp']:%Y-%m-%dT%H:%M:%S}": row["close"] for row in rows}


EXPECTED = {"2019-01-02T21:00:00": 10.0, "2019-01-03T21:00:00": 12.0}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (THREE_LINES + ROWS, "header_lines=3&timestamp=Price"),
        (THREE_LINES.replace("\n", "\r\n") + ROWS, "header_lines=3&timestamp=Price"),
        ("# prices of the desk\ndate,close\n2019-01-02,10\n2019-01-03,12\n", "skip_lines=1"),
        ('Symbol: KO\n"as of, 2019"\n\ndate,close\n2019-01-02,10\n2019-01-03,12\n', "skip_lines=3"),
        ("\ufeffremark\ndate,close\nd,USD\n2019-01-02,10\n2019-01-03,12", "skip_lines=1&header_lines=2"),
    ],
    ids=["three lines", "of windows", "a remark", "three remarks", "both"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lines_around_the_header_are_passed_over(
    tmp_path: Path, text: str, options: str, packed: bool
) -> None:
    """Told how many lines stand above and below the names, the bars are read, and packed ones too."""
    if packed:
        (tmp_path / "KO.csv.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (tmp_path / "KO.csv").write_bytes(text.encode())
    assert closes(tmp_path, options) == EXPECTED


def test_a_header_that_is_not_found_leads_to_the_options(tmp_path: Path) -> None:
    """The error says which options there are for it."""
    (tmp_path / "KO.csv").write_text("# prices of the desk\ndate,close\n2019-01-02,10\n")
    with pytest.raises(DataError, match=r"it has: # prices of the desk; name it, .*skip_lines=1"):
        closes(tmp_path, "")


@pytest.mark.parametrize(
    ("form", "cells", "options"),
    [
        ("%d.%m.%Y", ["02.01.2019", "03.01.2019"], ""),
        ("%m/%d/%Y", ["01/02/2019", "01/03/2019"], ""),
        ("%d %b %Y", ["02 Jan 2019", "03 Jan 2019"], ""),
        ("%Y%m%d", [" 20190102", "20190103 "], ""),
        ("%d.%m.%Y %H:%M", ["02.01.2019 16:00", "03.01.2019 16:00"], "&timezone=America/New_York"),
        ("%Y.%m.%d %H:%M:%S", ["2019.01.02 21:00:00", "2019.01.03 21:00:00"], "&timezone=UTC"),
        ("%m/%d/%Y %I:%M %p %z", ["01/02/2019 04:00 PM -0500", "01/03/2019 04:00 PM -0500"], ""),
        ("epoch_s", ["1546462800", "1546549200.0"], ""),
        ("epoch_ms", ["1546462800000", "1.5465492e12"], ""),
        ("epoch_us", ["1546462800000000", "1546549200000000"], ""),
        ("epoch_ns", ["1546462800000000000", "1546549200000000000"], ""),
    ],
)
def test_dates_are_read_in_the_form_that_is_told(
    tmp_path: Path, form: str, cells: list[str], options: str
) -> None:
    """Days and times in forms of their own are those of ISO dates, in CSV and in Parquet."""
    (tmp_path / "KO.csv").write_text(f"date,close\n{cells[0]},10\n{cells[1]},12\n")
    assert closes(tmp_path, f"date_format={form.replace(' ', '+')}{options}") == EXPECTED
    (tmp_path / "KO.csv").unlink()
    pq.write_table(pa.table({"date": cells, "close": [10.0, 12.0]}), tmp_path / "KO.parquet")
    assert closes(tmp_path, f"date_format={form.replace(' ', '%20')}{options}") == EXPECTED
    source = registry.find_source(f"folder:{tmp_path}?date_format={form.replace(' ', '+')}{options}")
    assert source.history((), datetime(2019, 1, 3, tzinfo=UTC)).num_rows == 1


def test_numbers_and_dates_of_parquet_need_no_texts(tmp_path: Path) -> None:
    """Whole numbers are read by the format; a column of dates is what it says, whatever the format."""
    for name, column, form in (
        ("digits", pa.array([20190102, 20190103]), "%Y%m%d"),
        ("epoch", pa.array([1546462800000, 1546549200000]), "epoch_ms"),
        ("days", pa.array([date(2019, 1, 2), date(2019, 1, 3)]), "%d.%m.%Y"),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"date": column, "close": [10.0, 12.0]}), tmp_path / name / "KO.parquet")
        assert closes(tmp_path / name, f"date_format={form}") == EXPECTED


@pytest.mark.parametrize(
    ("cell", "form", "words"),
    [
        ("01/02/2019", "%d.%m.%Y", "row 2 is '01/02/2019'; date_format is '%d.%m.%Y': time data"),
        ("31.02.2019", "%d.%m.%Y", "row 2 is '31.02.2019'; date_format is '%d.%m.%Y': day is out of range"),
        ("soon", "epoch_s", "row 2 is 'soon'; date_format is 'epoch_s': it is no number"),
        ("1e30", "epoch_s", "row 2 is '1e30'; date_format is 'epoch_s'"),
    ],
)
def test_a_cell_of_another_form_is_told_with_the_reason(
    tmp_path: Path, cell: str, form: str, words: str
) -> None:
    """The row, the cell, the format and what is wrong with it stand in one line."""
    good = "02.01.2019" if form.startswith("%") else "1546462800"
    (tmp_path / "KO.csv").write_text(f"date,close\n{good},10\n{cell},12\n")
    with pytest.raises(DataError) as caught:
        closes(tmp_path, f"date_format={form}")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("date_format=%H:%M", "date_format is '%H:%M' (it does not tell year, month and day)"),
        ("date_format=%m/%d", "does not tell year, month and day"),
        ("date_format=dd.mm.yyyy", "write it as %d.%m.%Y %H:%M, or one of: epoch_s"),
        ("skip_lines=-1", "skip_lines is '-1'; write a number of lines, as skip_lines=3"),
        ("skip_lines=1_0", "skip_lines is '1_0'"),
        ("header_lines=0", "header_lines is 0; it must be from 1 to 1000"),
        ("header_lines=three", "header_lines is 'three'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_a_file_is_read(
    tmp_path: Path, options: str, words: str
) -> None:
    """Each says what it is and how to write it."""
    with pytest.raises(InputError) as caught:
        registry.find_source(f"folder:{tmp_path}?{options}")
    assert isinstance(caught.value, AlphaloopError)
    assert words in str(caught.value)

"""Reference data as of any time; files with clear errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.errors import DataError, UnknownNameError
from alphaloop.instruments import Instrument
from marketdata.point_in_time.reference_data import ReferenceData

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# -- terms as of a time ----------------------------------------------------------------------------


def test_nothing_changes_for_an_instrument_without_terms() -> None:
    """Defaults are a US stock's: a cent, a ten-thousandth, always."""
    plain = Instrument("A")
    assert (plain.tick, plain.lot, plain.start) == (Decimal("0.01"), Decimal("0.0001"), None)


def test_terms_hold_from_their_start_and_only_once_published() -> None:
    """A tick that changes on day 10, announced on day 5, is the old one on day 9 and the new one then."""
    data = ReferenceData(
        [
            Instrument("A", tick=Decimal("0.05")),
            Instrument("A", tick=Decimal("0.01"), start=NOON + 10 * DAY, published=NOON + 5 * DAY),
            # A correction that came late: it does not reach back beyond its publication.
            Instrument("A", tick=Decimal("0.02"), start=NOON + 10 * DAY, published=NOON + 20 * DAY),
        ]
    )
    ticks = [data.instrument("A", NOON + days * DAY).tick for days in (0, 9, 10, 19, 20)]
    assert [str(tick) for tick in ticks] == ["0.05", "0.05", "0.01", "0.01", "0.02"]


def test_what_is_not_known_is_said() -> None:
    """A strange symbol lists those there are; before its first publication a known one has no terms."""
    data = ReferenceData([Instrument("A", start=NOON, published=NOON)])
    assert data.symbols() == ("A",)
    with pytest.raises(UnknownNameError, match="unknown instrument 'B' in the reference data; known: A"):
        data.instrument("B", NOON)
    with pytest.raises(DataError, match=r"nothing was known of A at 2019-12-31T12.*begin at 2020-01-01T12"):
        data.instrument("A", NOON - DAY)
    with pytest.raises(DataError, match="A has two versions"):
        ReferenceData([Instrument("A"), Instrument("A", tick=Decimal(1))])


def test_impossible_terms_are_refused() -> None:
    """Steps are above 0, and moments have time zones."""
    for terms, word in [
        ({"symbol": ""}, "has a symbol"),
        ({"tick": Decimal(0)}, "A: tick is 0"),
        ({"lot": Decimal("-1")}, "A: lot is -1"),
        ({"lot": Decimal("NaN")}, "A: lot is NaN"),
        ({"start": datetime(2020, 1, 1)}, "without a time zone"),  # noqa: DTZ001
    ]:
        with pytest.raises(DataError, match=word):
            replace(Instrument("A"), **terms)


# -- files -----------------------------------------------------------------------------------------

ROUND_LOT = Instrument("ESH0", Decimal("0.25"), Decimal(1), None, NOON)


def test_files_of_every_kind_give_the_same_terms(tmp_path: Path) -> None:
    """CSV, TOML and Parquet give the same instrument; a tick of 0.25 or 0.1 is that decimal exactly."""
    (tmp_path / "a.csv").write_text("symbol,tick,lot,published\nESH0,0.25,1,2020-01-01T12:00:00Z\nX,0.1,,\n")
    (tmp_path / "a.toml").write_text(
        "[[instrument]]\nsymbol = 'ESH0'\ntick = 0.25\nlot = 1\npublished = 2020-01-01T12:00:00Z\n"
        "[[instrument]]\nsymbol = 'X'\ntick = 0.1\n"
    )
    row = {"symbol": "ESH0", "tick": Decimal("0.25"), "lot": 1.0, "published": NOON}
    pq.write_table(pa.Table.from_pylist([row, {"symbol": "X"}]), tmp_path / "a.parquet")
    for name in ("a.csv", "a.toml", "a.parquet"):
        data = ReferenceData.read(tmp_path / name)
        assert data.instrument("ESH0", NOON) == ROUND_LOT, name
    assert ReferenceData.read(tmp_path / "a.toml").instrument("X", NOON).tick == Decimal("0.1")


MALFORMED = [
    ("a.csv", "", "it is empty; its first line names the columns"),
    ("a.csv", "symbol,tick\nA,big\n", "row 1, 'tick' is 'big'; give a number"),
    ("a.csv", "symbol,tick\nA,inf\n", "row 1, 'tick' is 'inf'; give a number"),
    ("a.csv", "symbol,tick\nA,0.01\nB,-1\n", "row 2: B: tick is -1; it must be above 0"),
    ("a.csv", "symbol,tock\nA,0.01\n", "row 1: unknown column 'tock'; known: symbol, tick"),
    ("a.csv", "tick\n0.01\n", "row 1: 'symbol' is missing"),
    ("a.csv", "symbol,tick\nA,0.01,7\n", "row 1 has 3 cells, and there are 2"),
    ("a.csv", "symbol,symbol\nA,A\n", "two columns have the same name"),
    ("a.csv", "symbol,start\nA,2020-03-20T12:00\n", "'start' is .* with its time zone"),
    ("a.csv", "symbol\nA\nA\n", "A has two versions"),
    ("a.csv", b"symbol\n\xff\xfe\x00\n", "cannot be read as csv"),
    ("a.csv", 'symbol,tick\n"A,1\n', "cannot be read as csv"),
    ("a.toml", "symbol = 'A'", "one array of tables"),
    ("a.toml", "[[instrument]\n", "cannot be read as toml"),
    ("a.toml", "[[instrument]]\nsymbol = 5\n", "'symbol' is 5; give a text"),
    ("a.toml", "[[instrument]]\nsymbol = 'A'\ntick = true\n", "'tick' is True; give a number"),
    ("a.parquet", b"PAR1 and no more", "cannot be read as parquet"),
    ("a.json", "{}", "must end in one of .csv, .parquet, .toml"),
]


@pytest.mark.parametrize(("name", "content", "message"), MALFORMED)
def test_malformed_files_are_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    """Each malformed file is refused with its path, and its row, column and value where there are any."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        ReferenceData.read(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path where nothing lies says so."""
    for name in ("a.csv", "a.toml", "a.parquet"):
        with pytest.raises(DataError, match="there is no such file"):
            ReferenceData.read(tmp_path / name)


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    st.sampled_from(["csv", "toml", "parquet"]),
)
def test_no_file_crashes_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str
) -> None:
    """Any bytes are read or refused with a `DataError`, whatever they are."""
    path = tmp_path_factory.getbasetemp() / f"fuzz.{kind}"
    path.write_bytes(content if kind != "csv" else b"symbol,tick\n" + content)
    try:
        ReferenceData.read(path)
    except DataError as error:
        assert str(path) in str(error)

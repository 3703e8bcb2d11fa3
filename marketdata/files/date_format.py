"""Times in a format of the user's own, converted to ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from alphaloop.errors import DataError, InputError
from marketdata.files.number_cells import is_number

# Microseconds in one unit, for times as a number since 1970.
EPOCHS = {
    "epoch_s": Decimal(1_000_000),
    "epoch_ms": Decimal(1_000),
    "epoch_us": Decimal(1),
    "epoch_ns": Decimal("0.001"),
}
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Two times of one day: a format with the time of day distinguishes them.
MORNING, EVENING = datetime(2019, 3, 4, 9, 41, 27, tzinfo=UTC), datetime(2019, 3, 4, 21, 52, 38, tzinfo=UTC)


def require_format(form: str) -> None:
    """Raise `InputError` unless `form` is in `EPOCHS` or a `strptime` format with the day."""
    if form in EPOCHS:
        return
    try:
        parsed = datetime.strptime(MORNING.strftime(form), form)  # noqa: DTZ007
    except ValueError as error:
        raise InputError(_refusal(form, str(error))) from error
    if parsed.date() != MORNING.date():
        raise InputError(_refusal(form, "it does not tell year, month and day"))


def iso_texts(column: pa.ChunkedArray, form: str, label: str) -> pa.ChunkedArray:
    """Convert the cells of a column to ISO 8601 text.

    The result is bare dates if the format has no time of day. A column of dates or timestamps is returned
    unchanged. `DataError` names the file (`label`), the row and the cell that does not match the format.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_temporal(column.type) or pa.types.is_nested(column.type):
        return column
    texts: dict[object, str | None] = {None: None}
    daily = form not in EPOCHS and MORNING.strftime(form) == EVENING.strftime(form)
    for row, cell in enumerate(column.to_pylist(), start=1):
        if cell not in texts:
            try:
                moment = _moment(str(cell).strip(), form)
            except (ValueError, OverflowError) as error:
                raise DataError(
                    f"{label}: column 'timestamp', row {row} is {cell!r}; date_format is '{form}': {error}"
                ) from error
            texts[cell] = moment.date().isoformat() if daily else moment.isoformat()
    return pa.chunked_array([pa.array([texts[cell] for cell in column.to_pylist()], pa.string())])


def _moment(text: str, form: str) -> datetime:
    if form not in EPOCHS:
        return datetime.strptime(text, form)  # noqa: DTZ007
    if not is_number(text):
        raise ValueError("it is no number")
    return BEGINNING + timedelta(microseconds=int(Decimal(text) * EPOCHS[form]))


def _refusal(form: str, why: str) -> str:
    return f"date_format is '{form}' ({why}); write it as %d.%m.%Y %H:%M, or one of: {', '.join(EPOCHS)}"

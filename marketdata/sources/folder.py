"""Folders of the user's own as sources: `folder:/data/bars` and `folder:s3://bucket/bars`.

Facts that the files do not state follow a question mark:
`folder:s3://prices/crypto?calendar=24/7&frequency=1h&timezone=UTC&endpoint=http://minio:9000`. Options
are `calendar`, `frequency`, `timezone`, `stamp` (`open`, `close` or `date`), `adjusted_only=true`,
`extra=sentiment,bid_size` (further numeric columns), `date_format=%d.%m.%Y`, `skip_lines` above a CSV's
header and its `header_lines`, `endpoint` and `region` of an object store, and the column of a field where
no alias fits (`close=px_last`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from alphaloop.errors import InputError, UnknownNameError
from marketdata.files.bar_columns import FIELDS, BarColumns
from marketdata.files.folder_source import FolderSource
from marketdata.files.location import FileStorage

FREQUENCY = re.compile(r"[1-9][0-9]{0,3}[mhdwM]")
OPTIONS = ("calendar", "frequency", "timezone", "stamp", "adjusted_only", "extra", "endpoint", "region")
FILE_OPTIONS = ("date_format", "skip_lines", "header_lines")


class FolderFamily:
    """Family `folder`: any address of a folder of CSV or Parquet files."""

    prefix = "folder"
    description = (
        "bars of your own: CSV or Parquet files in a folder, or in a bucket: folder:s3://bucket/bars"
    )

    def names(self) -> tuple[str, ...]:
        """Return nothing: any address may follow."""
        return ()

    def find(self, name: str) -> FolderSource:
        """Return the folder at this address; nothing is read yet.

        `UnknownNameError` for an option that does not exist, `InputError` for an impossible value.
        """
        address, _, query = name.partition("?")
        if not address:
            raise InputError("'folder:' needs an address; write folder:/data/bars or folder:s3://bucket/bars")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for option in options:
            if option not in (known := (*OPTIONS, *FILE_OPTIONS, *FIELDS)):
                raise UnknownNameError("option", option, known, where=f"folder:{address}")
        calendar, bars = options.get("calendar", "XNYS"), options.get("frequency", "1d")
        if not FREQUENCY.fullmatch(bars):
            raise InputError(f"folder:{address}: frequency is '{bars}'; write it as 1m, 4h, 1d or 1w")
        adjusted_only = options.get("adjusted_only", "false").lower()
        if adjusted_only not in ("true", "false"):
            raise InputError(f"folder:{address}: adjusted_only is '{adjusted_only}'; write true or false")
        return FolderSource(
            storage=FileStorage(address, options.get("endpoint", ""), options.get("region", "")),
            columns=BarColumns(
                calendar=calendar,
                timezone=options.get("timezone", ""),
                names={field: options[field] for field in FIELDS if field in options},
                extra=tuple(part for part in options.get("extra", "").split(",") if part),
                date_format=options.get("date_format", ""),
                skip_lines=_count(options, "skip_lines", "0", address),
                header_lines=_count(options, "header_lines", "1", address),
                stamp=options.get("stamp", ""),
                frequency=bars,
            ),
            calendar=calendar,
            bars=bars,
            adjusted_only=adjusted_only == "true",
            stated_frequency=options.get("frequency", ""),
        )


def _count(options: Mapping[str, str], name: str, usual: str, address: str) -> int:
    value = options.get(name, usual)
    if not (value.isascii() and value.isdigit()):
        raise InputError(f"folder:{address}: {name} is '{value}'; write a number of lines, as {name}=3")
    return int(value)


FAMILY = FolderFamily()

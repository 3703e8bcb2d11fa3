"""Folders of the user's own as sources: `folder:/data/bars` and `folder:s3://bucket/bars`.

What the files do not say stands behind a question mark:
`folder:s3://prices/crypto?calendar=24/7&frequency=1h&timezone=UTC&endpoint=http://minio:9000`. Options
are `calendar`, `frequency`, `timezone`, `adjusted_only=true`, `extra=sentiment,bid_size` (further numeric
columns), `endpoint` and `region` of an object store, and the column of a field where no alias fits
(`close=px_last`).
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from alphaloop.errors import InputError, UnknownNameError
from features.bar_columns import FIELDS, BarColumns
from features.folder import FolderSource
from features.storage import Storage

OPTIONS = ("calendar", "frequency", "timezone", "adjusted_only", "extra", "endpoint", "region")


class FolderFamily:
    """Family `folder`: any address of a folder of CSV or Parquet files."""

    prefix = "folder"
    description = (
        "bars of your own: CSV or Parquet files in a folder, or in a bucket: folder:s3://bucket/bars"
    )

    def names(self) -> tuple[str, ...]:
        """Nothing: any address may follow."""
        return ()

    def find(self, name: str) -> FolderSource:
        """The folder at this address; nothing is read yet.

        `UnknownNameError` for an option that does not exist, `InputError` for an impossible value.
        """
        address, _, query = name.partition("?")
        if not address:
            raise InputError("'folder:' needs an address; write folder:/data/bars or folder:s3://bucket/bars")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for option in options:
            if option not in (*OPTIONS, *FIELDS):
                raise UnknownNameError("option", option, (*OPTIONS, *FIELDS), where=f"folder:{address}")
        calendar = options.get("calendar", "XNYS")
        return FolderSource(
            storage=Storage(address, options.get("endpoint", ""), options.get("region", "")),
            columns=BarColumns(
                calendar=calendar,
                timezone=options.get("timezone", ""),
                names={field: options[field] for field in FIELDS if field in options},
                extra=tuple(part for part in options.get("extra", "").split(",") if part),
            ),
            calendar=calendar,
            bars=options.get("frequency", "1d"),
            adjusted_only=options.get("adjusted_only", "").lower() == "true",
        )


FAMILY = FolderFamily()

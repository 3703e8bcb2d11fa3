"""Stored corporate actions: a Parquet file under the hash of its content.

The files lie beside the snapshots. A snapshot of bars as traded and this hash together determine all
adjusted prices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alphaloop.clock import as_utc
from alphaloop.errors import DamagedStoreError, DataError, UnknownNameError
from alphaloop.runtime.atomic_file import replace_file
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.record_files import read_dataclasses

SUFFIX = ".actions.parquet"
_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("ex_date", pa.date32()),
        ("published", pa.timestamp("us", tz="UTC")),
        ("kind", pa.string()),
        ("value", pa.float64()),
        ("currency", pa.string()),
        ("new_symbol", pa.string()),
        ("timezone", pa.string()),
        ("identifier", pa.string()),
    ]
)


class ActionsStore:
    """Sets of corporate actions in a folder, each under its hash; created by the first `save`."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def save(self, actions: Sequence[CorporateAction]) -> str:
        """Store actions, in any order, and return the hash of their content.

        The same actions have the same hash.
        """
        identity = actions_hash(actions)
        path = self._path(identity)
        if not path.is_file():
            rows = [_row(action) for action in sorted(actions, key=_canonical)]
            table = pa.Table.from_pylist(rows, schema=_SCHEMA)
            replace_file(path, lambda partial: pq.write_table(table, partial, compression="zstd"))
        return identity

    def load(self, identity: str) -> list[CorporateAction]:
        """Return the actions of a hash, verified.

        `UnknownNameError` if nothing is stored under it, `DamagedStoreError` if the content does not fit the
        hash.
        """
        path = self._path(identity)
        if not path.is_file():
            known = (
                stored_path.name.removesuffix(SUFFIX)[:12] + "…"
                for stored_path in self._folder.glob("*" + SUFFIX)
            )
            raise UnknownNameError("set of corporate actions", identity, known, where=str(self._folder))
        try:
            actions = read_dataclasses(path, CorporateAction)
        except DataError as error:
            raise _damaged(path, error) from error
        if actions_hash(actions) != identity:
            raise _damaged(path, "its content does not hash to its name")
        return actions

    def _path(self, identity: str) -> Path:
        return self._folder / (identity + SUFFIX)


def actions_hash(actions: Sequence[CorporateAction]) -> str:
    """Return the SHA-256 of the actions, independent of their order."""
    content = [[item.name for item in fields(CorporateAction)], sorted(_canonical(item) for item in actions)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _row(action: CorporateAction) -> dict[str, Any]:
    return asdict(action) | {"published": as_utc(action.published)}


def _canonical(action: CorporateAction) -> list[str]:
    # Numbers as their shortest exact text, moments in UTC.
    return [
        value.isoformat() if hasattr(value, "isoformat") else str(value) for value in _row(action).values()
    ]


def _damaged(path: Path, why: object) -> DamagedStoreError:
    return DamagedStoreError(f"{path} is damaged ({why}); fetch its corporate actions anew and save them")

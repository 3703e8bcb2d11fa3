"""Feast's online store on Redis, with fenced and atomic writes.

Feast's own store reads the timestamps of rows and then writes them, in two steps: of two writers the older
may come last. It drops a row with a timestamp that is stored already, so that a bar cannot be written again,
and it reads symbol by symbol, so that a write can fall between. Here the lease, the check and the write of
all symbols are one script, and a read is one transaction. Keys, fields and values are Feast's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import _mmh3, _redis_key
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from google.protobuf.timestamp_pb2 import Timestamp

from alphaloop.bars import to_datetime, to_datetime64
from alphaloop.errors import DataError, InputError
from features.store.online_address import OnlineAddress, online_address
from features.store.redis_lease import RedisLease, connect_redis, translated_redis

TYPE = "features.store.feast.redis_store.FencedRedisOnlineStore"
# Bars are compared as text, because numbers in Lua have 53 bits.
_DIGITS, _ORDINAL_OFFSET = 20, 2**63
_WRITE = """
local bar, replace, width = ARGV[3], ARGV[4], tonumber(ARGV[5])
for at = 3, #KEYS do
  local stored = redis.call('HGET', KEYS[at], '_bar')
  if replace == '0' and stored and stored > bar then return {'older', stored} end
end
for at = 3, #KEYS do
  local from = 6 + (at - 3) * width
  redis.call('HSET', KEYS[at], '_bar', bar, unpack(ARGV, from, from + width - 1))
end
return {'written'}
"""

Row = tuple[Any, dict[str, Any], datetime, datetime | None]


class FencedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Configuration of the fenced store.

    `connection_string` is redis://host:port/db, without credentials: see `features.store.online_address`.
    """

    # Releases before 0.2 wrote the second name into repositories on disk.
    type: Literal[
        "features.store.feast.redis_store.FencedRedisOnlineStore",
        "features.repo.redis_store.FencedRedisOnlineStore",
    ] = TYPE  # type: ignore[assignment]


class FencedRedisOnlineStore(RedisOnlineStore):
    """Redis store that anyone may read; written only under a lease, one bar at a time."""

    _client: Any = None
    _address: OnlineAddress | None = None
    _lease: RedisLease | None = None
    _replace = False

    def use(self, address: OnlineAddress) -> None:
        """Connect to `address`, which may carry credentials that the configuration lacks."""
        self._address = address

    def fence(self, lease: RedisLease, replace: bool) -> None:
        """Write under `lease` from now on; `replace` lets older bars replace newer ones."""
        self._lease, self._replace = lease, replace

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: Sequence[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write the rows of one bar, all or none.

        Raises `DataError` if a stored row is newer, `LeaseLostError` if another writer took over, and
        `InputError` without a lease or for rows of several bars.
        """
        if self._lease is None:
            raise InputError("windows are written by the streamer alone; use alphaloop features materialize")
        bars = {row[2] for row in data}
        if len(bars) > 1:
            raise InputError(f"rows of {len(bars)} bars cannot be written at once")
        if not data:
            return
        keys = [_redis_key(config.project, row[0], config.entity_key_serialization_version) for row in data]
        fields = [_fields(table.name, row) for row in data]
        width = len(fields[0])
        arguments = [
            _ordinal(data[0][2]),
            int(self._replace),
            width,
            *(part for one in fields for part in one),
        ]
        outcome, *stored = self._lease.write(_WRITE, keys, arguments)
        if outcome == "older":
            raise DataError(
                f"the online store in {self._address} holds {_moment(stored[0]).isoformat()}, and the older "
                f"bar of {data[0][2].isoformat()} would overwrite it"
            )
        if progress:
            progress(len(data))

    def _get_client(self, online_store_config: RedisOnlineStoreConfig) -> Any:
        if not self._client:
            self._address = self._address or online_address(online_store_config.connection_string)
            self._client = connect_redis(self._address)
        return self._client

    def _read_hash_fields(
        self, config: RepoConfig, commands: list[tuple[bytes, list[str | bytes]]]
    ) -> list[list[bytes | None]]:
        client = self._get_client(config.online_store)
        with translated_redis(self._address or OnlineAddress()), client.pipeline(transaction=True) as pipe:
            for key, fields in commands:
                pipe.hmget(key, fields)
            answers: list[list[bytes | None]] = pipe.execute()
            return answers


def _fields(view: str, row: Row) -> list[str | bytes]:
    """Return names and values of the fields of one row, in Feast's layout."""
    _, values, moment, _ = row
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    fields: list[str | bytes] = [f"_ts:{view}", stamp.SerializeToString()]
    for name, value in values.items():
        fields += [_mmh3(f"{view}:{name}"), value.SerializeToString()]
    return fields


def _ordinal(moment: datetime) -> str:
    """Return a bar's time as text that sorts in time order."""
    nanoseconds = int(to_datetime64(moment).astype("datetime64[ns]").astype(np.int64))
    return f"{nanoseconds + _ORDINAL_OFFSET:0{_DIGITS}d}"


def _moment(ordinal: str) -> datetime:
    return to_datetime(np.datetime64(int(ordinal) - _ORDINAL_OFFSET, "ns"))

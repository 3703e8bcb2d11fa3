"""Adapter for Redis: its connection, and the lease that lets one process write.

The lease is a key that expires unless it is renewed, beside a second key that stores the last holder. A
holder is an increasing number (the fencing token) and an id. Every write names its holder and is refused, in
the same Redis script, after another holder took the lease. So a writer that was paused past the end of its
lease writes nothing, whatever it believes (Kleppmann 2016, How to do distributed locking). One primary is
assumed: a failover to a lagging replica can lose a lease.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from alphaloop.errors import LeaseLostError, MissingPartError, VendorError
from alphaloop.runtime.credentials import redact_secrets
from features.store.online_address import OnlineAddress
from features.store.writer_lease import LeaseHeldError

DEFAULT_LEASE_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS, RESPONSE_TIMEOUT_SECONDS, RECONNECT_ATTEMPTS = 2.0, 5.0, 1

# KEYS: lease, last holder. ARGV: holder, milliseconds. An expired lease continues if nobody took it since.
FENCE_SCRIPT = """
local held, last = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
local owner = held or last
if owner and owner ~= ARGV[1] then return {'lost', owner} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], ARGV[1])
"""
_RENEW = FENCE_SCRIPT + "return {'kept'}"
_TAKE = """
local held, last = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if held then return {'held', held} end
local token = 1
if last then token = tonumber(string.match(last, '^%d+')) + 1 end
local mine = string.format('%d', token) .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], mine, 'PX', ARGV[2])
redis.call('SET', KEYS[2], mine)
return {'taken', mine}
"""
_GIVE_UP = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return {'given up'}"


class RedisLease:
    """The right to write a project's windows in Redis, renewed by a thread until `close`.

    Raises `LeaseHeldError`, which names the process that holds it. The lease is free `seconds` after its
    holder died.
    """

    def __init__(self, address: OnlineAddress, what: str, seconds: float = DEFAULT_LEASE_SECONDS) -> None:
        self._address, self._what, self._client = address, what, connect_redis(address)
        self._milliseconds = max(int(seconds * 1000), 1)
        self.keys = (f"{address.project}:writer:lease", f"{address.project}:writer:last")
        self._closed, self._lost_to = Event(), ""
        holder = f"process {os.getpid()} on {socket.gethostname()} ({uuid.uuid4().hex})"
        try:
            with translated_redis(address):
                outcome, owner = self._run(_TAKE, holder)
        except BaseException:
            self._client.close()
            raise
        if outcome == "held":
            self._client.close()
            raise LeaseHeldError(
                f"{what} in {address} is already held by {_shown(owner)}; stop that process first (one that "
                f"died is forgotten after {seconds:g} seconds)"
            )
        self.holder: str = owner
        self._thread = Thread(target=self._keep, args=(seconds / 3,), name="redis-lease", daemon=True)
        self._thread.start()

    @property
    def held(self) -> bool:
        """True if the lease has not been closed."""
        return not self._closed.is_set()

    @property
    def lost(self) -> bool:
        """True if another holder was seen; only `write` decides for certain."""
        return bool(self._lost_to)

    @property
    def token(self) -> int:
        """Fencing token: the number of holders so far, this one included."""
        return int(self.holder.split(" ", 1)[0])

    def require(self) -> None:
        """Renew the lease. Raises `LeaseLostError` if it was taken, `VendorError` if Redis is unreachable."""
        self.write("return {'kept'}")

    def write(
        self, script: str, keys: Sequence[bytes] = (), arguments: Sequence[str | bytes | int] = ()
    ) -> list[str]:
        """Run `FENCE_SCRIPT` and then `script` in one Redis script.

        In the script KEYS begin at 3 and ARGV at 3. Raises `LeaseLostError` if another holder took the lease,
        `VendorError` if Redis cannot be reached.
        """
        with translated_redis(self._address):
            answer = self._run(FENCE_SCRIPT + script, self.holder, keys, arguments)
        if answer[0] == "lost":
            self._lost_to = answer[1]
            raise LeaseLostError(
                f"{self._what} in {self._address} was taken over by {_shown(answer[1])}; nothing was written"
            )
        return answer

    def close(self) -> None:
        """Release the lease; may be repeated. If Redis cannot be reached, it expires by itself."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        try:
            with translated_redis(self._address):
                self._run(_GIVE_UP, self.holder)
        except VendorError:
            self._lost_to = self._lost_to or "nobody"
        finally:
            self._client.close()

    def _keep(self, pause: float) -> None:
        while not self._closed.wait(pause) and not self._lost_to:
            try:
                with translated_redis(self._address):
                    outcome, *owner = self._run(_RENEW, self.holder)
            except VendorError:
                # The next renewal or write tries again and finds out who holds the lease.
                continue
            if outcome == "lost":
                self._lost_to = owner[0]

    def _run(
        self, script: str, holder: str, keys: Sequence[bytes] = (), arguments: Sequence[Any] = ()
    ) -> list[str]:
        run = self._client.register_script(script)
        answer = run(keys=[*self.keys, *keys], args=[holder, self._milliseconds, *arguments])
        return [one.decode() for one in answer]


def connect_redis(address: OnlineAddress) -> Any:
    """Return a Redis client; nothing is sent yet."""
    try:
        import redis
        from redis.backoff import ConstantBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingPartError(f"Redis' client cannot be imported ({error}); install redis") from error

    user, password = address.credentials()
    return redis.Redis(
        host=address.host,
        port=address.port,
        db=address.database,
        ssl=address.tls,
        username=user.reveal() if user else None,
        password=password.reveal() if password else None,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_timeout=RESPONSE_TIMEOUT_SECONDS,
        # A connection broken by a restart is reopened once; further retries are the caller's decision.
        retry=Retry(ConstantBackoff(0.01), RECONNECT_ATTEMPTS),
    )


@contextmanager
def translated_redis(address: OnlineAddress) -> Iterator[None]:
    """Turn errors of the Redis client into ours, with the cause chained and without credentials."""
    import redis

    try:
        yield
    except redis.RedisError as error:
        secrets = [secret for secret in address.credentials() if secret]
        cause = redact_secrets(error, secrets)
        raise VendorError(
            f"the online store in {address} failed: {cause}; check that Redis runs there, and REDIS_PASSWORD"
        ) from cause


def _shown(holder: str) -> str:
    return holder.split(" ", 1)[1].rsplit(" (", 1)[0] if " " in holder else holder

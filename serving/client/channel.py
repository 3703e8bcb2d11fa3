"""gRPC channel to one server, replaced when its credentials change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from serving.security.reloadable_file import ReloadableFile

# gRPC would wait up to two minutes before it connects again to a server that has come back.
RECONNECT_MS, MAX_RECONNECT_MS = 50, 1_000
# Time allowed for a connection: three round trips with TLS, to a server across an ocean.
CONNECT_TIMEOUT_MS = 300
UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Credentials:
    """Certificates of a client and of its trusted authority, as PEM and for gRPC."""

    authority: bytes
    certificate: bytes | None
    key: bytes | None = field(repr=False)
    grpc: Any = field(compare=False, repr=False)


@dataclass(slots=True, eq=False)
class ChannelLease:
    """One gRPC channel, the credentials it was made with, and its number of running calls."""

    channel: Any
    stub: Any
    credentials: Credentials | None
    calls: int = 0


class Channel:
    """Channel to `url`, in clear text without `credentials`. Thread-safe.

    gRPC never changes the credentials of a channel, so a call that begins after the credentials changed
    begins on a new channel; the old one is closed once its calls have ended. An asynchronous channel belongs
    to the event loop in which it is made, and its `close` is awaited.
    """

    def __init__(self, url: str, credentials: ReloadableFile[Credentials] | None, asynchronous: bool) -> None:
        self._url, self._credentials, self._asynchronous = url, credentials, asynchronous
        self._lock = Lock()
        self._current = self._open(None if credentials is None else credentials.current())
        self._replaced: list[ChannelLease] = []
        self._closing: set[asyncio.Future[None]] = set()

    def call(self, method: str, request: Any, **options: Any) -> Any:
        """Call `method` and block until it answers; `options` are gRPC's. Raises `grpc.RpcError`."""
        lease = self._acquire()
        try:
            return getattr(lease.stub, method)(request, **options)
        finally:
            self._release(lease)

    def start_call(self, method: str, request: Any, **options: Any) -> Any:
        """Start a call to `method`.

        Returns a gRPC future, or an awaitable on an event loop.
        """
        lease = self._acquire()
        try:
            calls = getattr(lease.stub, method)
            call = (calls if self._asynchronous else calls.future)(request, **options)
        except BaseException:
            self._release(lease)
            raise
        call.add_done_callback(lambda _: self._release(lease))
        return call

    def close(self) -> Any:
        """Close the connections and cancel the calls that are running."""
        with self._lock:
            leases, self._replaced = [self._current, *self._replaced], []
        ended = [lease.channel.close() for lease in leases]
        return asyncio.gather(*ended, *self._closing) if self._asynchronous else None

    def _acquire(self) -> ChannelLease:
        """Return the channel for a call that begins now; `_leave` gives it back."""
        if self._credentials is None:
            return self._current
        current = self._credentials.current()
        with self._lock:
            if self._current.credentials is not current:
                self._replaced.append(self._current)
                self._current = self._open(current)
            lease = self._current
            lease.calls += 1
            idle = [replaced for replaced in self._replaced if not replaced.calls] if self._replaced else ()
            if idle:
                self._replaced = [replaced for replaced in self._replaced if replaced.calls]
        for replaced in idle:
            self._close(replaced)
        return lease

    def _release(self, lease: ChannelLease) -> None:
        """Count a call out.

        No channel is closed here, because gRPC ends calls on threads that must not wait.
        """
        if self._credentials is not None:
            with self._lock:
                lease.calls -= 1

    def _close(self, lease: ChannelLease) -> None:
        closed = lease.channel.close()
        if self._asynchronous:
            closing = asyncio.ensure_future(closed)
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _open(self, credentials: Credentials | None) -> ChannelLease:
        import grpc.aio
        from tritonclient.grpc import service_pb2_grpc

        options = [
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS),
            ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
            ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_MS),
            ("grpc.max_receive_message_length", UNLIMITED),
            ("grpc.max_send_message_length", UNLIMITED),
            # A second client to the same url must not share a connection that this client found broken.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        library = grpc.aio if self._asynchronous else grpc
        channel = (
            library.insecure_channel(self._url, options)
            if credentials is None
            else library.secure_channel(self._url, credentials.grpc, options)
        )
        return ChannelLease(channel, service_pb2_grpc.GRPCInferenceServiceStub(channel), credentials)

"""Blocking and asyncio drivers for the retry policy in `retry_policy.py`.

Both drivers send the same requests; they differ only in how they wait.
"""

from __future__ import annotations

import asyncio
import queue
from typing import Any

from alphaloop.clock import sleep
from serving.client.grpc_errors import is_overdue
from serving.client.replica import Server
from serving.client.retry_policy import Ask, Heard, Pause, Shake, Steps
from serving.client.tls_diagnosis import disagreement

INFER = "ModelInfer"


def answer(steps: Steps, request: Any) -> Any:
    """Send a `ModelInferRequest` as `steps` decides and block until its answer. Raises as `steps` does."""
    outcome: Heard | None = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as end:
            return end.value
        if isinstance(step, Pause):
            sleep(step.seconds)
            outcome = None
        elif isinstance(step, Shake):
            outcome = _shaken(step)
        elif len(step.servers) == 1:
            outcome = _one(step, request)
        else:
            outcome = _first(step, request)


async def answer_async(steps: Steps, request: Any) -> Any:
    """Send a `ModelInferRequest` as `steps` decides and await its answer.

    Raises as `steps` does. Cancelling the task cancels its calls on the wire.
    """
    outcome: Heard | None = None
    calls: dict[Any, Server] = {}
    done: asyncio.Queue[Any] = asyncio.Queue()
    try:
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                outcome = None
            elif isinstance(step, Shake):
                outcome = await asyncio.to_thread(_shaken, step)
            else:
                outcome = await _first_async(step, request, calls, done)
    finally:
        steps.close()
        for call in calls:
            call.cancel()


async def settled(call: Any) -> tuple[Any, Any]:
    """Await a call and return its answer, or its `grpc.RpcError`.

    Cancelling the task cancels the call.
    """
    from grpc import StatusCode
    from grpc.aio import AioRpcError, Metadata

    try:
        code = await call.code()
        if code is StatusCode.CANCELLED:
            # Awaiting a cancelled call raises CancelledError, as if this task had been cancelled.
            trailing = await call.trailing_metadata()
            return None, AioRpcError(code, Metadata(), trailing, await call.details())
        message = await call
    except AioRpcError as error:
        return None, error
    finally:
        call.cancel()
    if message is None:
        details = "Exception deserializing response!"
        return None, AioRpcError(StatusCode.INTERNAL, Metadata(), Metadata(), details)
    return message, None


def _shaken(step: Shake) -> Heard:
    """Diagnose a TLS failure.

    The outcome's answer is the explanation, or None if TLS is fine.
    """
    return Heard(disagreement(step.url, step.security, step.error, step.seconds), None)


def _one(send: Ask, request: Any) -> Heard | None:
    """Send the request to one server with gRPC's blocking call.

    It is faster than a future, but cannot continue beside a hedged call, so it is given up at the limit.
    """
    import grpc

    (server,) = send.servers
    seconds = send.seconds if send.limit is None else send.limit
    try:
        message = server.call(INFER, request, seconds)
    except grpc.RpcError as error:
        if send.limit is not None and is_overdue(error):
            return None
        return Heard(None, None, [(server, error)])
    return Heard(message, server)


def _first(send: Ask, request: Any) -> Heard:
    """Send the request to several servers at once and return the first answer."""
    import grpc

    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    calls: dict[Any, Server] = {}
    failures: list[tuple[Server, Any]] = []
    for server in send.servers:
        call = server.start_call(INFER, request, send.seconds)
        calls[call] = server
        call.add_done_callback(done.put)
    try:
        while calls:
            call = done.get()
            server = calls.pop(call)
            try:
                return Heard(call.result(), server, failures)
            except grpc.RpcError as error:
                failures.append((server, error))
    finally:
        for call in calls:
            call.cancel()
    return Heard(None, None, failures)


async def _first_async(
    send: Ask, request: Any, calls: dict[Any, Server], done: asyncio.Queue[Any]
) -> Heard | None:
    """Await the first answer of the servers.

    `calls` has the running calls, in the order of the servers.
    """
    for server in send.servers[len(calls) :]:
        call = server.start_call(INFER, request, send.seconds)
        calls[call] = server
        call.add_done_callback(done.put_nowait)
    failures: list[tuple[Server, Any]] = []
    while calls:
        try:
            async with asyncio.timeout(send.limit):
                call = await done.get()
        except TimeoutError:
            return None
        server = calls.pop(call)
        message, error = await settled(call)
        if error is None:
            return Heard(message, server, failures)
        if send.limit is not None and is_overdue(error):
            return None
        failures.append((server, error))
    return Heard(None, None, failures)

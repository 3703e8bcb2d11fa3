"""Blocking and asyncio drivers for the retry policy in `retry_policy.py`.

Both drivers send the same requests; they differ only in how they wait.
"""

from __future__ import annotations

import asyncio
import queue
from typing import Any

from alphaloop.clock import sleep
from serving.client.grpc_errors import is_deadline_exceeded
from serving.client.replica import Replica
from serving.client.retry_policy import CallOutcome, DiagnoseTls, Pause, RetrySteps, Send
from serving.client.tls_diagnosis import explain_tls_mismatch

INFER_METHOD = "ModelInfer"


def run_steps(steps: RetrySteps, request: Any) -> Any:
    """Send a `ModelInferRequest` as `steps` decides and block until its answer. Raises as `steps` does."""
    outcome: CallOutcome | None = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as end:
            return end.value
        if isinstance(step, Pause):
            sleep(step.seconds)
            outcome = None
        elif isinstance(step, DiagnoseTls):
            outcome = _diagnose(step)
        elif len(step.servers) == 1:
            outcome = _call_one(step, request)
        else:
            outcome = _call_first(step, request)


async def run_steps_async(steps: RetrySteps, request: Any) -> Any:
    """Send a `ModelInferRequest` as `steps` decides and await its answer.

    Raises as `steps` does. Cancelling the task cancels its calls on the wire.
    """
    outcome: CallOutcome | None = None
    calls: dict[Any, Replica] = {}
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
            elif isinstance(step, DiagnoseTls):
                outcome = await asyncio.to_thread(_diagnose, step)
            else:
                outcome = await _call_first_async(step, request, calls, done)
    finally:
        steps.close()
        for call in calls:
            call.cancel()


async def await_call(call: Any) -> tuple[Any, Any]:
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


def _diagnose(step: DiagnoseTls) -> CallOutcome:
    """Diagnose a TLS failure.

    The outcome's answer is the explanation, or None if TLS is fine.
    """
    return CallOutcome(explain_tls_mismatch(step.url, step.security, step.error, step.seconds), None)


def _call_one(send: Send, request: Any) -> CallOutcome | None:
    """Send the request to one server with gRPC's blocking call.

    It is faster than a future, but cannot continue beside a hedged call, so it is given up at the limit.
    """
    import grpc

    (server,) = send.servers
    seconds = send.seconds if send.limit is None else send.limit
    try:
        message = server.call(INFER_METHOD, request, seconds)
    except grpc.RpcError as error:
        if send.limit is not None and is_deadline_exceeded(error):
            return None
        return CallOutcome(None, None, [(server, error)])
    return CallOutcome(message, server)


def _call_first(send: Send, request: Any) -> CallOutcome:
    """Send the request to several servers at once and return the first answer."""
    import grpc

    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    calls: dict[Any, Replica] = {}
    failures: list[tuple[Replica, Any]] = []
    for server in send.servers:
        call = server.start_call(INFER_METHOD, request, send.seconds)
        calls[call] = server
        call.add_done_callback(done.put)
    try:
        while calls:
            call = done.get()
            server = calls.pop(call)
            try:
                return CallOutcome(call.result(), server, failures)
            except grpc.RpcError as error:
                failures.append((server, error))
    finally:
        for call in calls:
            call.cancel()
    return CallOutcome(None, None, failures)


async def _call_first_async(
    send: Send, request: Any, calls: dict[Any, Replica], done: asyncio.Queue[Any]
) -> CallOutcome | None:
    """Await the first answer of the servers.

    `calls` has the running calls, in the order of the servers.
    """
    for server in send.servers[len(calls) :]:
        call = server.start_call(INFER_METHOD, request, send.seconds)
        calls[call] = server
        call.add_done_callback(done.put_nowait)
    failures: list[tuple[Replica, Any]] = []
    while calls:
        try:
            async with asyncio.timeout(send.limit):
                call = await done.get()
        except TimeoutError:
            return None
        server = calls.pop(call)
        message, error = await await_call(call)
        if error is None:
            return CallOutcome(message, server, failures)
        if send.limit is not None and is_deadline_exceeded(error):
            return None
        failures.append((server, error))
    return CallOutcome(None, None, failures)

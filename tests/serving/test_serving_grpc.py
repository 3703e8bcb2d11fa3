"""gRPC by the Open Inference Protocol: what the process host offers beyond a plain inference."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient import grpc as triton
from tritonclient.grpc import aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost

GOOD = np.ones((2, 2, 3), np.float32)
MOST_BYTES = 100_000


@dataclass(frozen=True)
class GrpcServed:
    """A process host; `shelf` is the model of its settings, with versions 1 (champion) and 2."""

    url: str
    shelf: Any
    world: Any

    @property
    def model(self) -> str:
        """The name of the model."""
        return str(self.shelf.name)


@pytest.fixture(scope="module")
def served(world: Any, module_shelf: Any) -> Iterator[GrpcServed]:
    """One host for the tests of this module."""
    module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    module_shelf.add(3.0, 2.0, 1.0)
    settings = world.settings(model=module_shelf.name, max_request_bytes=MOST_BYTES, poll_seconds=0.05)
    with ProcessHost(settings, free_port()) as host:
        yield GrpcServed(host.url, module_shelf, world)


@pytest.fixture
def client(served: GrpcServed) -> Iterator[Any]:
    """An unmodified client."""
    with triton.InferenceServerClient(served.url) as made:
        yield made


@pytest.fixture
def stub(served: GrpcServed) -> Iterator[Any]:
    """The generated stub, for messages that tritonclient would not send."""
    with grpc.insecure_channel(served.url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def panel_input(panel: np.ndarray[Any, Any]) -> Any:
    """The input of a request by tensor."""
    made = triton.InferInput("panel", list(panel.shape), "FP32")
    made.set_data_from_numpy(panel)
    return made


def typed(model: str, panel: np.ndarray[Any, Any]) -> Any:
    """A request by tensor in typed contents."""
    message = service_pb2.ModelInferRequest(model_name=model, id="typed")
    tensor = message.inputs.add(name="panel", datatype="FP32", shape=panel.shape)
    tensor.contents.fp32_contents.extend(panel.ravel().tolist())
    return message


def test_config_and_extensions(served: GrpcServed, client: Any) -> None:
    """Model configuration has Triton's fields, server metadata the extensions."""
    config = client.get_model_config(served.model).config
    assert [one.name for one in config.input] == ["panel", "symbols", "route_key"]
    assert list(config.input[0].dims) == [-1, 2, 3]
    assert config.parameters["family"].string_value == "linear"
    assert list(config.version_policy.specific.versions) == [1, 2]
    assert "statistics" in client.get_server_metadata().extensions
    with pytest.raises(InferenceServerException, match="unknown model 'nothing'"):
        client.get_model_config("nothing")


def test_typed_contents_are_answered(served: GrpcServed, stub: Any) -> None:
    """Numbers and texts in the protocol's typed fields get what raw ones get."""
    answer = stub.ModelInfer(typed(served.model, GOOD))
    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [6.0, 6.0]
    message = service_pb2.ModelInferRequest(model_name=served.model)
    message.parameters["as_of"].string_param = served.world.bar.isoformat()
    message.inputs.add(name="symbols", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"S03")
    scores = np.frombuffer(stub.ModelInfer(message).raw_output_contents[0], "<f4")
    expected = served.world.panel[3, -1] @ np.float32([1, 2, 3])
    assert scores[0] == pytest.approx(expected, abs=1e-6)


def test_the_aio_client_is_answered(served: GrpcServed) -> None:
    """tritonclient.grpc.aio: health, inference and a stream."""

    async def ask() -> tuple[bool, list[float], list[list[float]]]:
        async with triton_aio.InferenceServerClient(served.url) as made:
            ready = await made.is_model_ready(served.model)
            result = await made.infer(served.model, [panel_input(GOOD)])

            async def requests() -> Any:
                for factor in (1.0, 2.0):
                    yield {
                        "model_name": served.model,
                        "inputs": [panel_input(GOOD * np.float32(factor))],
                    }

            streamed = []
            async for answer, error in made.stream_infer(requests()):
                assert error is None
                streamed.append(answer.as_numpy("scores").tolist())
            return ready, result.as_numpy("scores").tolist(), streamed

    assert asyncio.run(ask()) == (True, [6.0, 6.0], [[6.0, 6.0], [12.0, 12.0]])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_grpc_compression(served: GrpcServed, client: Any, algorithm: str) -> None:
    """Compressed messages are read."""
    result = client.infer(served.model, [panel_input(GOOD)], compression_algorithm=algorithm)
    assert result.as_numpy("scores").tolist() == [6.0, 6.0]


def test_unknown_symbols_are_not_found(served: GrpcServed, client: Any) -> None:
    """A request of which no symbol is known is NOT_FOUND; one that is known is answered beside others."""
    tensor = triton.InferInput("symbols", [2], "BYTES")
    tensor.set_data_from_numpy(np.array(["NOPE", "NADA"], dtype=np.object_))
    with pytest.raises(
        InferenceServerException, match=r"unknown symbol 'NOPE'.*none of the symbols"
    ) as caught:
        client.infer(served.model, [tensor], parameters={"as_of": served.world.bar.isoformat()})
    assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_infinite_inputs_are_refused(served: GrpcServed, client: Any) -> None:
    """Infinity is named with its place; NaN masks its symbol."""
    panel = GOOD.copy()
    panel[1, 1, 0] = -np.inf
    with pytest.raises(InferenceServerException, match=r"infinite at \[1, 1, 0\]") as caught:
        client.infer(served.model, [panel_input(panel)])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    panel[1, 1, 0] = np.nan
    result = client.infer(served.model, [panel_input(panel)])
    assert result.as_numpy("statuses").tolist() == [b"ok", b"missing"]


def test_both_contents_are_refused(served: GrpcServed, stub: Any) -> None:
    """The specification allows raw or typed contents, not both."""
    message = typed(served.model, GOOD)
    message.raw_input_contents.append(GOOD.tobytes())
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_too_large_a_request_is_refused(served: GrpcServed, client: Any) -> None:
    """Above the limit of bytes gRPC itself refuses, by RESOURCE_EXHAUSTED."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer(served.model, [panel_input(np.zeros((6_000, 2, 3), np.float32))])
    assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "RepositoryIndex", "ModelStreamInfer"])
def test_what_is_no_message_is_refused(served: GrpcServed, method: str) -> None:
    """Bytes that are not protobuf get INVALID_ARGUMENT, whatever the method."""
    with grpc.insecure_channel(served.url) as channel:
        path = f"/inference.GRPCInferenceService/{method}"
        with pytest.raises(grpc.RpcError) as caught:
            if method == "ModelStreamInfer":
                list(channel.stream_stream(path)(iter([b"\xff\xff\xff"]), timeout=5))
            else:
                channel.unary_unary(path)(b"\xff\xff\xff", timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a message of the protocol" in caught.value.details()


def test_an_unknown_method_is_unimplemented(served: GrpcServed) -> None:
    """A method that the service does not have is UNIMPLEMENTED."""
    with grpc.insecure_channel(served.url) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_statistics_over_grpc(served: GrpcServed, client: Any) -> None:
    """Successes and failures are counted by version; other models' are not shown."""

    def row() -> Any:
        return client.get_inference_statistics(served.model, "1").model_stats[0]

    before = row()
    client.infer(served.model, [panel_input(GOOD)])
    with pytest.raises(InferenceServerException):
        client.infer(served.model, [panel_input(GOOD[:, :1])], model_version="1")
    after = row()
    assert after.inference_count - before.inference_count == 2
    assert after.execution_count - before.execution_count == 1
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.last_inference > 1_500_000_000_000
    assert after.inference_stats.success.ns >= after.inference_stats.queue.ns
    assert [one.version for one in client.get_inference_statistics(served.model).model_stats] == ["1", "2"]
    with pytest.raises(InferenceServerException, match="unknown"):
        client.get_inference_statistics("nothing")


def test_the_repository_over_grpc(served: GrpcServed, client: Any) -> None:
    """Index, load and unload; the champion cannot be unloaded."""
    client.load_model(served.model)
    rows = {
        one.version: one for one in client.get_model_repository_index().models if one.name == served.model
    }
    assert (rows["1"].state, set(rows)) == ("READY", {"1", "2"})
    with pytest.raises(InferenceServerException, match="needs version 1") as caught:
        client.unload_model(served.model)
    assert caught.value.status() == "StatusCode.FAILED_PRECONDITION"
    with pytest.raises(InferenceServerException, match="unknown model 'nothing'"):
        client.load_model("nothing")


def test_a_loaded_version_stays_and_an_unloaded_one_goes(served: GrpcServed, stub: Any, client: Any) -> None:
    """The parameter `version` names what is loaded or unloaded."""
    load = service_pb2.RepositoryModelLoadRequest(model_name=served.model)
    load.parameters["version"].string_param = "2"
    stub.RepositoryModelLoad(load)
    assert client.is_model_ready(served.model, "2")
    unload = service_pb2.RepositoryModelUnloadRequest(model_name=served.model)
    unload.parameters["version"].int64_param = 2
    stub.RepositoryModelUnload(unload)
    assert not client.is_model_ready(served.model, "2")
    with pytest.raises(InferenceServerException, match="has been unloaded") as caught:
        client.infer(served.model, [panel_input(GOOD)], model_version="2")
    assert caught.value.status() == "StatusCode.FAILED_PRECONDITION"
    stub.RepositoryModelLoad(load)
    assert client.infer(served.model, [panel_input(GOOD)], model_version="2").as_numpy("scores") is not None


def test_the_standard_health_service(served: GrpcServed, shelf: Any) -> None:
    """Check and Watch of grpc.health.v1, for the server and for each model."""
    with grpc.insecure_channel(served.url) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        for name in ("", served.model):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == serving
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service=shelf.name))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest(service=shelf.name))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        # A request makes the server look for the model, and the watcher hears of it.
        shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(typed(shelf.name, GOOD))
        assert next(watch).status == serving
        watch.cancel()


def test_reflection_lists_the_services(served: GrpcServed) -> None:
    """Tools that know no proto find the services and their methods."""
    with grpc.insecure_channel(served.url) as channel:
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest
        answers = reflect.ServerReflectionInfo(
            iter(
                [
                    ask(list_services=""),
                    ask(file_containing_symbol="inference.GRPCInferenceService"),
                ]
            ),
            timeout=10,
        )
        listed, described = answers
    names = {one.name for one in listed.list_services_response.service}
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names
    assert any(b"ModelStreamInfer" in one for one in described.file_descriptor_response.file_descriptor_proto)


def test_a_stream_names_the_request_that_failed(served: GrpcServed, client: Any) -> None:
    """An error in a stream carries the id of its request."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    client.async_stream_infer("nothing", [panel_input(GOOD)], request_id="first")
    client.async_stream_infer(served.model, [panel_input(GOOD)], request_id="second")
    (_, error), (result, _) = answers.get(timeout=10), answers.get(timeout=10)
    client.stop_stream()
    assert "unknown model" in error.message()
    assert result.get_response().id == "second"


def test_cross_sectional_features_keep_their_universe(served: GrpcServed, client: Any) -> None:
    """A symbol's score is the same whether it is asked for alone or with its whole universe."""
    as_of = {"as_of": served.world.bar.isoformat()}

    def ask(*symbols: str) -> list[float]:
        tensor = triton.InferInput("symbols", [len(symbols)], "BYTES")
        tensor.set_data_from_numpy(np.array(symbols, dtype=np.object_))
        result = client.infer(served.model, [tensor], parameters=as_of)
        return list(result.as_numpy("scores").tolist())

    together = dict(zip(served.world.symbols, ask(*served.world.symbols), strict=True))
    assert ask("S07") == [together["S07"]]
    assert ask("S11", "S02") == [together["S11"], together["S02"]]

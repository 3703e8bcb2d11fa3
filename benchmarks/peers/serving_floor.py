"""The least that answers: a bare `grpc.aio` server that runs one ONNX file on the tensor that it is sent.

python serving_floor.py MODEL.onnx PORT
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
from tritonclient.grpc import service_pb2, service_pb2_grpc

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    Path(sys.argv[1]).read_bytes(), options, providers=["CPUExecutionProvider"]
)


class Floor(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Inference, and nothing else."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Scores of the panel."""
        panel = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
        scores = session.run(["scores"], {"panel": panel})[0]
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        answer.outputs.add(name="scores", datatype="FP32", shape=scores.shape)
        answer.raw_output_contents.append(scores.tobytes())
        return answer


async def main() -> None:
    """Serve until SIGTERM."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 * 2**20)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Floor(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[2]}")
    await server.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(1)


asyncio.run(main())

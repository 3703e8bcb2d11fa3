"""Export of model versions as a repository for Triton Inference Server.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_repository.html
The configuration is built as Triton's own message (`ModelConfig`), so it cannot have a field that Triton does
not know. Triton takes tensors only: a client must leave out a symbol with a missing value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaloop.errors import InputError
from models.registry.card import Card
from serving.exports.exported_version import ExportedVersion, atomic_folder
from serving.protocol.messages import PANEL, SCORES

CONFIG_FILE, MODEL_FILE, CARD_FILE = "config.pbtxt", "model.onnx", "card.json"
# Symbols in the warm-up request that Triton runs before it reports a version as ready.
WARM_UP_SYMBOLS = 2


def export_triton(exported: Sequence[ExportedVersion], folder: Path) -> Path:
    """Write versions of one model as a Triton model repository.

    Parameters
    ----------
    exported : sequence of ExportedVersion
        Versions of one model.
    folder : Path
        Repository; `folder/<model>` must not exist, or be empty.

    Returns
    -------
    Path
        The repository, absolute.

    Raises
    ------
    InputError
        If the versions do not take the same inputs (Triton has one configuration for all), if a version is
        named twice, or if the folder is not empty or cannot be written. A failed export leaves nothing.

    References
    ----------
    Triton Inference Server, "Model Repository" and "Model Configuration".
    """
    first = exported[0]
    for number, one in enumerate(exported[1:], 1):
        if any(one.version == before.version for before in exported[:number]):
            raise InputError(f"{one.model} version {one.version} is named twice; name it once")
        if (one.card.lookback, one.card.features) != (first.card.lookback, first.card.features):
            raise InputError(
                f"{one.model} versions {first.version} and {one.version} do not take the same inputs "
                f"({first.card.lookback} and {one.card.lookback} rows of {len(first.card.features)} and "
                f"{len(one.card.features)} features); export them apart"
            )
    with atomic_folder(folder / first.safe_name) as model_folder:
        for one in exported:
            version = model_folder / one.version
            version.mkdir()
            (version / MODEL_FILE).write_bytes(one.onnx)
            (version / CARD_FILE).write_text(one.card.to_json())
        (model_folder / CONFIG_FILE).write_text(triton_config_text(exported))
    return folder.resolve()


def triton_config_text(exported: Sequence[ExportedVersion]) -> str:
    """Return the content of `config.pbtxt`: the configuration in protobuf's text format."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(_config(exported)))


def _config(exported: Sequence[ExportedVersion]) -> Any:
    from tritonclient.grpc import model_config_pb2

    first = exported[0]
    rows, width = first.card.lookback, len(first.card.features)
    config = model_config_pb2.ModelConfig(
        name=first.safe_name, platform="onnxruntime_onnx", backend="onnxruntime", max_batch_size=0
    )
    config.input.add(name=PANEL, data_type=model_config_pb2.TYPE_FP32, dims=(-1, rows, width))
    config.output.add(name=SCORES, data_type=model_config_pb2.TYPE_FP32, dims=(-1,))
    config.version_policy.specific.versions.extend(int(version.version) for version in exported)
    config.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    for name in ("intra_op_thread_count", "inter_op_thread_count"):
        config.parameters[name].string_value = "1"
    for name, value in _lineage([version.card for version in exported]).items():
        config.parameters[name].string_value = value
    warmth = config.model_warmup.add(name="zeros", batch_size=1, count=1)
    warmth.inputs[PANEL].data_type = model_config_pb2.TYPE_FP32
    warmth.inputs[PANEL].dims.extend((WARM_UP_SYMBOLS, rows, width))
    warmth.inputs[PANEL].zero_data = True
    return config


def _lineage(cards: Sequence[Card]) -> dict[str, str]:
    first = cards[0]
    return {
        "digests": json.dumps([card.digest for card in cards]),
        "feature_set": first.feature_set,
        "features": json.dumps(list(first.features)),
        "horizon": str(first.horizon),
        "score_kind": first.score_kind,
    }

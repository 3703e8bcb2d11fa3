"""A small transformer over the last sixteen rows of one symbol's features, by PyTorch.

Vaswani et al. 2017, "Attention Is All You Need", with the normalisation before each block. Attention runs
over time only: a score never depends on the other symbols of the request.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.dataset import Dataset, Panel
from models.family import Choice, Domain, IntRange, LogUniform, Parameters, Scores
from models.onnx import onnx_graph

CLIP = 5.0
"""Standard deviations at which normalised inputs are clipped."""


@dataclass(frozen=True, slots=True)
class Transformer:
    """A transformer with one encoder layer and a few thousand weights."""

    name: str = "transformer"
    lookback: int = 16
    cross_sectional: bool = False
    score_kind: str = "z_score"

    def default_parameters(self) -> dict[str, Any]:
        return {
            "width": 16,
            "heads": 2,
            "epochs": 3,
            "batch": 512,
            "learning_rate": 2e-3,
            "weight_decay": 0.05,
            "dropout": 0.1,
            "every": 5,
        }

    def search_space(self) -> dict[str, Domain]:
        return {
            "width": Choice((8, 16, 24)),
            "epochs": IntRange(2, 5),
            "learning_rate": LogUniform(5e-4, 5e-3),
            "weight_decay": LogUniform(0.01, 0.3),
        }

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> FittedTransformer:
        inputs, targets, _, _ = dataset.samples(self.lookback, every=int(parameters["every"]))
        with _repeatable(seed):
            network = make_network(inputs, parameters)
            _learn(network, inputs, targets, parameters, seed)
        return FittedTransformer(network)


def make_network(inputs: Panel, parameters: Parameters) -> Any:
    """Make an untrained network that normalises by mean and deviation of `inputs`.

    `inputs` are float32 `[rows, lookback, features]`.
    """
    import torch
    from torch import nn

    _, lookback, features = inputs.shape
    flat = inputs.reshape(-1, features).astype(np.float64)
    deviation = flat.std(axis=0)
    width = int(parameters["width"])

    class Network(nn.Module):
        """A network from `panel` float32 `[symbols, lookback, features]` to scores `[symbols]`."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor(flat.mean(axis=0), dtype=torch.float32))
            scale = np.where(deviation > 0, deviation, 1.0)
            self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
            self.embed = nn.Linear(features, width)
            self.position = nn.Parameter(torch.randn(lookback, width) * 0.02)
            self.encoder = nn.TransformerEncoderLayer(
                width,
                int(parameters["heads"]),
                dim_feedforward=2 * width,
                dropout=float(parameters["dropout"]),
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, 1)

        def forward(self, panel: Any) -> Any:
            normalised = ((panel - self.mean) / self.scale).clamp(-CLIP, CLIP)
            encoded = self.encoder(self.embed(normalised) + self.position)
            return self.head(self.norm(encoded[:, -1])).squeeze(-1)

    return Network()


def _learn(network: Any, inputs: Panel, targets: Scores, parameters: Parameters, seed: int) -> None:
    import torch

    size = int(parameters["batch"])
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=parameters["learning_rate"], weight_decay=parameters["weight_decay"]
    )
    all_inputs, all_targets = torch.from_numpy(inputs), torch.from_numpy(targets)
    order = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(int(parameters["epochs"])):
        for rows in torch.randperm(len(all_inputs), generator=order).split(size):
            optimizer.zero_grad(set_to_none=True)
            error = network(all_inputs[rows]) - all_targets[rows]
            (error * error).mean().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    network.eval()


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """Use one thread and a seeded generator, and restore both afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence PyTorch's warnings about its own deprecations and about optional libraries."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class FittedTransformer:
    """A trained network."""

    network: Any

    def predict(self, panel: Panel) -> Scores:
        import torch

        with torch.no_grad():
            parts = torch.from_numpy(np.ascontiguousarray(panel)).split(4_096)
            return np.concatenate([self.network(part).numpy() for part in parts])

    def to_onnx(self) -> bytes:
        import torch

        lookback = self.network.position.shape[0]
        example = torch.zeros(3, lookback, self.network.embed.in_features)
        buffer = io.BytesIO()
        with _quiet_exporter():
            program = torch.onnx.export(
                self.network,
                (example,),
                input_names=[onnx_graph.INPUT_NAME],
                output_names=[onnx_graph.OUTPUT_NAME],
                dynamic_shapes={"panel": {0: torch.export.Dim("symbols", min=1)}},
                opset_version=onnx_graph.OPSET,
                dynamo=True,
                verbose=False,
            )
        program.save(buffer)
        return onnx_graph.reserialize(buffer.getvalue())

    def hard_inputs(self, panel: Panel) -> Panel:
        return panel[:0]


FAMILY = Transformer()

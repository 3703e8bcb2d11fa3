"""Requests as gRPC brings them: small ones are read at once, large ones when their turn comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.server.grpc.grpc_codec import read_large


@dataclass(slots=True)
class Received:
    """A request as it came, of `size` bytes: its message, or its bytes where these are read in its turn."""

    size: int
    message: Any = None
    content: bytes = b""

    def read(self) -> Any:
        """The message; raises `InvalidRequestError` for bytes that are none."""
        if self.message is None:
            self.message = read_large(self.content)
        return self.message

    @property
    def model(self) -> str:
        """The model's name; empty until it is read."""
        return "" if self.message is None else str(self.message.model_name)

    @property
    def version(self) -> str:
        """The version that is asked for, if it is read."""
        return "" if self.message is None else str(self.message.model_version)

    @property
    def id(self) -> str:
        """The id by which the client knows it, if it is read."""
        return "" if self.message is None else str(self.message.id)

"""Incoming gRPC requests: small ones are parsed at once, large ones when their turn comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.server.grpc.grpc_codec import parse_large_request


@dataclass(slots=True)
class IncomingMessage:
    """Incoming request of `size` bytes: its message, or its bytes if it is parsed later."""

    size: int
    message: Any = None
    content: bytes = b""

    def read(self) -> Any:
        """Return the message; raises `InvalidRequestError` if the bytes are not a message."""
        if self.message is None:
            self.message = parse_large_request(self.content)
        return self.message

    @property
    def model(self) -> str:
        """Name of the model; empty until the message is parsed."""
        return "" if self.message is None else str(self.message.model_name)

    @property
    def version(self) -> str:
        """Requested version; empty until the message is parsed."""
        return "" if self.message is None else str(self.message.model_version)

    @property
    def id(self) -> str:
        """The client's id of the request; empty until the message is parsed."""
        return "" if self.message is None else str(self.message.id)

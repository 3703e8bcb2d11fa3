"""Host and port as clients write them, an IPv6 address in brackets."""

from __future__ import annotations


def format_address(host: str, port: int) -> str:
    """Join host and port as gRPC and URLs take them (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

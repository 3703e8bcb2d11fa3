"""Addresses as clients write them: host and port, an IPv6 address between brackets."""

from __future__ import annotations


def address(host: str, port: int) -> str:
    """`host:port`, as gRPC and URLs take it (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

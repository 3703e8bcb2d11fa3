"""The input of route keys: what is read, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from serving.protocol.messages import InferenceRequest, InvalidRequestError
from serving.protocol.request_limits import MAX_ROUTE_KEYS
from serving.protocol.tensors import Tensor, encode_bytes, read_request


def parse(keys: Tensor, **parameters: Any) -> InferenceRequest:
    """A request by one symbol with an input of route keys."""
    symbols = Tensor("symbols", "BYTES", (1,), encode_bytes(["KO"]))
    return read_request("m", "", "", [symbols, keys], {"as_of": "2019-01-03T21:00:00Z"} | parameters, ())


def key_tensor(*keys: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """The input of route keys."""
    return Tensor("route_key", "BYTES", shape or (len(keys),), encode_bytes(keys))


def test_keys_of_any_number_up_to_the_limit_are_read() -> None:
    """One key, and as many as a request may have, come back in their order."""
    many = tuple(f"sleeve-{number}" for number in range(MAX_ROUTE_KEYS))
    assert parse(key_tensor(*many)).route_keys == many
    assert parse(key_tensor("one")).keys == ("one",)


@pytest.mark.parametrize(
    ("keys", "parameters", "message"),
    [
        (key_tensor(*map(str, range(MAX_ROUTE_KEYS + 1))), {}, "10001 elements; a request has at most 10000"),
        (key_tensor("a", "b", "a"), {}, "route key 'a' is given twice"),
        (key_tensor("a" * 1_025), {}, "1025 characters; it has at most 1024"),
        (key_tensor("a" * 5_000), {}, "name of 5000 bytes; one has at most 4096"),
        (key_tensor(shape=(0,)), {}, r"'route_key' has shape \[0\]"),
        (key_tensor("a", "b", shape=(2, 1)), {}, r"'route_key' has shape \[2, 1\]"),
        (key_tensor("a", "b", shape=(3,)), {}, "2 elements, its shape says 3"),
        (key_tensor("a"), {"route_key": "a"}, "as an input and as a parameter; send one of them"),
        (Tensor("route_key", "BYTES", (1,), b"\x01\x00\x00\x00\xff"), {}, "'route_key' cannot be read"),
    ],
)
def test_wrong_route_keys_are_refused_by_name(keys: Tensor, parameters: Any, message: str) -> None:
    """Each thing that can be wrong with the input of route keys is named."""
    with pytest.raises(InvalidRequestError, match=message):
        parse(keys, **parameters)


def test_route_keys_need_an_input_to_score() -> None:
    """Route keys alone, or twice, are refused."""
    keys = key_tensor("a")
    symbols = Tensor("symbols", "BYTES", (1,), encode_bytes(["KO"]))
    with pytest.raises(InvalidRequestError, match="give one input, 'panel' or 'symbols', not 0"):
        read_request("m", "", "", [keys], {}, ())
    with pytest.raises(InvalidRequestError, match="'route_key' is given 2 times"):
        read_request("m", "", "", [symbols, keys, keys], {"as_of": "2019-01-03T21:00:00Z"}, ())

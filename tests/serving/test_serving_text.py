"""Texts of a request that UTF-8 cannot hold: refused at the wire, so that no log or answer meets them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.protocol.messages import InvalidRequestError
from serving.server.http.http_codec import decode_infer

# JSON writes it as \ud800: half of a pair, which stands for no character.
HALF = "\ud800"
PANEL = {"name": "panel", "datatype": "FP32", "shape": [1, 1, 1], "data": [1.0]}
SYMBOLS = {"name": "symbols", "datatype": "BYTES", "shape": [1], "data": [HALF]}


def body(**changes: Any) -> bytes:
    """A request by tensor, but for `changes`."""
    return json.dumps({"inputs": [PANEL]} | changes).encode()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (body(parameters={"route_key": HALF}), r"parameter 'route_key' is '\\ud800', which is not Unicode"),
        (body(id=HALF), r"'id' is '\\ud800', which is not Unicode"),
        (body(inputs=[SYMBOLS], parameters={"as_of": "2019-01-03T21:00:00Z"}), "'symbols' .* not Unicode"),
    ],
    ids=["route key", "id", "symbol"],
)
def test_half_of_a_surrogate_pair_is_refused_by_name(sent: bytes, message: str) -> None:
    """Whatever text of a request it stands in; the error names the place, and can itself be encoded."""
    with pytest.raises(InvalidRequestError, match=message) as caught:
        decode_infer(sent, None, "m", "")
    str(caught.value).encode()


def test_any_other_text_is_taken_as_it_came() -> None:
    """Letters beyond ASCII and whole pairs come through in a route key and an id."""
    sent = body(id="ключ-😀", parameters={"route_key": "Börse-😀"})
    request = decode_infer(sent, None, "m", "").request
    assert (request.id, request.route_key) == ("ключ-😀", "Börse-😀")

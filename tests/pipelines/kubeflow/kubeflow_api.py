"""A Kubeflow Pipelines API (v2beta1) on loopback, which speaks with the SDK's own wire types."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api

BASE = "/apis/v2beta1/"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class KubeflowApi:
    """Experiments, runs and recurring runs in memory; `away` answers 503, `fail_at` breaks at a request."""

    def __init__(self) -> None:
        self.experiments: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.recurringruns: dict[str, Any] = {}
        self.terminated: list[str] = []
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.away = False
        self.fail_at: str | None = None
        self.wire = api.ApiClient()
        self.url = ""
        self._count = 0

    def made(self, kind: str, model: Any) -> Any:
        """Keep a new object of `kind` under an id and with a time of its own."""
        self._count += 1
        model.created_at = BEGAN + timedelta(seconds=self._count)
        identity = f"{kind}-{self._count}"
        if kind == "runs":
            model.run_id, model.state = identity, "RUNNING"
        elif kind == "recurringruns":
            model.recurring_run_id = identity
            model.status = "ENABLED" if model.mode == "ENABLE" else "DISABLED"
        else:
            model.experiment_id = identity
        getattr(self, kind)[identity] = model
        return model

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        """Answer one request with a status and a model of the SDK."""
        if self.away:
            return 503, {"message": "away"}
        if path == "healthz":
            return 200, api.V2beta1GetHealthzResponse(multi_user=False)
        kind, _, rest = path.partition("/")
        identity, _, verb = rest.partition(":")
        verb = verb or method.lower()
        self.asked.append(f"{verb} {kind}")
        if self.fail_at == f"{verb} {kind}":
            return 500, {"message": "broken"}
        models = {
            "experiments": "V2beta1Experiment",
            "runs": "V2beta1Run",
            "recurringruns": "V2beta1RecurringRun",
        }
        kept = getattr(self, kind)
        if not identity and method == "POST":
            return 200, self.made(kind, self._parsed(body, models[kind]))
        if not identity:
            return 200, self._page(kind, kept, query)
        if identity not in kept:
            return 404, {"message": "not found"}
        return 200, self._act(kind, verb, identity)

    def _act(self, kind: str, verb: str, identity: str) -> Any:
        kept = getattr(self, kind)
        if verb == "delete":
            del kept[identity]
            return {}
        if verb == "terminate":
            self.terminated.append(identity)
            kept[identity].state = "CANCELED"
        if verb in ("enable", "disable"):
            kept[identity].mode = verb.upper()
            kept[identity].status = f"{verb.upper()}D"
        return kept[identity]

    def _page(self, kind: str, kept: dict[str, Any], query: dict[str, list[str]]) -> Any:
        """One object a page, so that a caller must follow the pages."""
        (predicate,) = json.loads(query["filter"][0])["predicates"]
        found = [one for one in kept.values() if one.display_name == predicate["stringValue"]]
        start = int(query.get("page_token", ["0"])[0] or 0)
        more = str(start + 1) if start + 1 < len(found) else ""
        responses = {
            "experiments": (api.V2beta1ListExperimentsResponse, "experiments"),
            "runs": (api.V2beta1ListRunsResponse, "runs"),
            "recurringruns": (api.V2beta1ListRecurringRunsResponse, "recurring_runs"),
        }
        response, field = responses[kind]
        return response(**{field: found[start : start + 1], "next_page_token": more})

    def _parsed(self, body: bytes, model: str) -> Any:
        class Response:
            data = body.decode()

        return self.wire.deserialize(Response(), model)


@contextmanager
def serve_kubeflow() -> Iterator[KubeflowApi]:
    """Serve the API on a free port of loopback."""
    state = KubeflowApi()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.tokens.add(self.headers.get("Authorization"))
            path = parts.path.removeprefix(BASE)
            status, model = state.answer(self.command, path, parse_qs(parts.query), body)
            sent = json.dumps(state.wire.sanitize_for_serialization(model)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_DELETE = _any

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()

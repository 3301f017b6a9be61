"""Requests to the hosts that are granted. ``pyproject.toml`` lists it: ``imports = ["http"]`` under ``[tool.cofferdam]``."""

from __future__ import annotations

import json as _json
from dataclasses import dataclass
from typing import Any

from ._host import PluginError, ask, extra, from_host

_http = extra("http")


@dataclass(frozen=True)
class Response:
    """What came back. A status of 400 and above is an answer, not an error. Names of headers are in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    final_url: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name.lower()), None)

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        return _json.loads(self.body)


@dataclass(frozen=True)
class Request:
    """What to send. ``json`` is a body with its content type."""

    url: str
    method: str = "GET"
    headers: dict[str, str] | None = None
    body: bytes | str | None = None
    json: Any = None
    timeout_ms: int | None = None
    max_response_bytes: int | None = None

    def _told(self) -> Any:
        headers = dict(self.headers or {})
        body = self.body.encode() if isinstance(self.body, str) else self.body
        if self.json is not None:
            body = _json.dumps(self.json).encode()
            if not any(name.lower() == "content-type" for name in headers):
                headers["content-type"] = "application/json"
        pairs = [(name, value.encode()) for name, value in headers.items()]
        return _http.Request(self.method, self.url, pairs, body, self.timeout_ms, self.max_response_bytes)


def fetch(url: str, **options: Any) -> Response:
    """One request, with the fields of ``Request``; raises ``PluginError`` when it is denied or gets no answer."""
    request = Request(url, **options)
    return _response(ask(lambda: _http.fetch(request._told())))


def fetch_many(requests: list[Request], limit: int = 4) -> list[Response | PluginError]:
    """Several, at most ``limit`` at once, answered in their order."""
    answers = ask(lambda: _http.fetch_many([request._told() for request in requests], limit))
    return [_response(answer.value) if type(answer).__name__ == "Ok" else from_host(answer.value) for answer in answers]


def _response(told: Any) -> Response:
    headers = [(name, value.decode("utf-8", "replace")) for name, value in told.headers]
    return Response(told.status, headers, told.body, told.final_url)

"""Asking a server on loopback over HTTP, as every part of the bench does."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

_SUCCESS = range(200, 300)


class NotTaken(OSError):
    """A server answered, but not with success."""


def ask(port: int, path: str, *, seconds: float = 10, **parameters: str) -> str:
    """Return what a server answers.

    Raises:
        NotTaken: It answered with anything but success.
        OSError: It does not answer in time.
    """
    return _exchange(port, "GET", f"{path}?{urlencode(parameters)}" if parameters else path, None, seconds)


def tell(port: int, path: str, document: Any, *, seconds: float = 10) -> None:  # noqa: ANN401 - whatever is JSON
    """Post a JSON document to a server.

    Raises:
        NotTaken: It answered with anything but success.
        OSError: It does not answer in time.
    """
    _exchange(port, "POST", path, json.dumps(document), seconds)


def _exchange(port: int, method: str, path: str, body: str | None, seconds: float) -> str:
    with closing(HTTPConnection("127.0.0.1", port, timeout=seconds)) as line:
        line.request(method, path, body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        text = answer.read().decode()
        if answer.status not in _SUCCESS:
            raise NotTaken(f"{method} {path}: {answer.status}: {text[:200]}")
        return text

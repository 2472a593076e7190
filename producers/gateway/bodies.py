"""Bodies of requests: bounded, in time and in size, and read strictly."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from ledger.errors import BadRequest
from ledger.statements import strict_json
from producers import cloudevents
from producers.gateway.problems import Problem

#: Longest body in bytes: an envelope of 64 KiB, and an event around it.
MOST: Final = 70 * 1024
#: How long a body may take to arrive.
_SECONDS: Final = 10.0

_JSON: Final = "application/json"
_MEDIA_TYPE: Final = re.compile(r"\s*([a-z0-9.+-]+/[a-z0-9.+-]+)\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.ASCII)

_ENVELOPE: Final[dict[str, Any]] = {
    "type": "string",
    "description": "The compact JWS of the statement, signed with Ed25519.",
    "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
    "maxLength": 64 * 1024,
}
_HOLDER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["envelope"],
    "additionalProperties": False,
    "properties": {"envelope": _ENVELOPE},
}
_TEXT: Final[dict[str, Any]] = {"type": "string", "pattern": r"^[ -~]+$", "maxLength": cloudevents.MAX_ATTRIBUTE}
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A CloudEvent 1.0 in structured mode; extension attributes may stand beside these.",
    "required": ["specversion", "id", "source", "type", "data"],
    # Extensions are not listed, so that what is generated from this document is read.
    "additionalProperties": False,
    "properties": {
        "specversion": {"const": "1.0"},
        "id": _TEXT,
        "source": _TEXT,
        "type": {"const": cloudevents.COMMAND_TYPE},
        "datacontenttype": {"const": _JSON},
        "data": _HOLDER,
    },
}


def documented(*, events: bool) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body with an envelope.

    Args:
        events: Whether it may come in a CloudEvent.
    """
    content = {_JSON: {"schema": _HOLDER}}
    if events:
        content[cloudevents.MEDIA_TYPE] = {"schema": _EVENT}
    return {"requestBody": {"required": True, "content": content}}


async def envelope(request: Request, *, events: bool) -> str:
    """Return the envelope in a body.

    Args:
        request: Its body was not read yet.
        events: Whether it may come in a CloudEvent.

    Raises:
        BadRequest: There is none.
        Problem: 408, 413 or 415.
    """
    kind = _media_type(request)
    if kind == _JSON:
        fields = _strict(await _read(request))
        held = fields.get("envelope")
        if fields.keys() != {"envelope"} or not isinstance(held, str):
            raise BadRequest("the body has to be an object with the text envelope and nothing else")
        return held
    if events and kind == cloudevents.MEDIA_TYPE:
        return cloudevents.envelope_of(await _read(request))
    read = f"{_JSON} and {cloudevents.MEDIA_TYPE}" if events else _JSON
    raise Problem(415, "unsupported_media_type", f"the body is of another Content-Type than {read}, in UTF-8")


def _media_type(request: Request) -> str | None:
    given = request.headers.getlist("content-type")
    if len(given) != 1 or request.headers.get("content-encoding", "identity").lower() != "identity":
        return None
    found = _MEDIA_TYPE.fullmatch(given[0].lower())
    return None if found is None else found[1]


def _strict(body: bytes) -> dict[str, Any]:
    try:
        return strict_json("body", body)
    except BadRequest:
        raise BadRequest("the body is not one object of strict JSON: UTF-8, no key twice, whole numbers") from None


async def _read(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST:
                    raise Problem(
                        413,
                        "content_too_large",
                        f"the body is longer than {MOST // 1024} KiB",
                        headers={"Connection": "close"},
                    )
    except TimeoutError:
        raise Problem(
            408,
            "request_timeout",
            f"the body did not arrive within {_SECONDS:g} s",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Problem(400, "bad_request", "the body did not arrive whole") from None
    return bytes(body)

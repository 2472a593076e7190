"""CloudEvents: a signed command that comes in one, in the JSON format of CloudEvents 1.0, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ledger.errors import BadRequest
from ledger.statements import strict_json

#: The type of an event that holds a command; there is no other.
COMMAND_TYPE = "stepback.command"
#: The media type of one event in structured mode.
MEDIA_TYPE = "application/cloudevents+json"
#: Longest value of an attribute in characters; CloudEvents asks nobody to pass on more than 64 KB.
MAX_ATTRIBUTE = 4096

#: Attributes of the specification that are text, apart from those that have a rule of their own.
_TEXTS = ("id", "source", "subject", "dataschema")
_REQUIRED = ("specversion", "id", "source", "type", "data")
#: Extensions have short names, and 32-bit whole numbers, booleans or text as values.
_EXTENSION = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_JSON = re.compile(r"application/json(\s*;\s*charset\s*=\s*\"?utf-8\"?)?", re.ASCII | re.IGNORECASE)
_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]"
    r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def envelope_of(event: Mapping[str, object] | bytes) -> str:
    """Return the envelope in an event; what the envelope holds is judged where it is opened.

    No message repeats anything of the event but names that the specification gives.

    Args:
        event: One event in structured mode: its UTF-8 JSON, or that JSON read already.

    Raises:
        BadRequest: It is no CloudEvent 1.0 that holds a command.
    """
    fields = _decoded(event) if isinstance(event, bytes) else event
    # A null counts as absent, as the JSON format has it.
    given = {name: value for name, value in fields.items() if value is not None}
    if "data_base64" in given:
        raise BadRequest("the event has data_base64; a command comes as data, an object with an envelope")
    if missing := [name for name in _REQUIRED if name not in given]:
        raise BadRequest(f"the event has no {', '.join(missing)}; it has to be a CloudEvent 1.0")
    if given["specversion"] != "1.0":
        raise BadRequest("the specversion of the event is not 1.0, the only one that is read here")
    if given["type"] != COMMAND_TYPE:
        raise BadRequest(f"the type of the event is not {COMMAND_TYPE}, the only one that is read here")
    _check_attributes(given)
    data = given["data"]
    if not isinstance(data, Mapping) or data.keys() != {"envelope"} or not isinstance(data["envelope"], str):
        raise BadRequest("the data of the event has to be an object with the text envelope and nothing else")
    envelope: str = data["envelope"]
    return envelope


def _decoded(event: bytes) -> Mapping[str, object]:
    try:
        return strict_json("event", event)
    except BadRequest:
        raise BadRequest("the event is not one object of strict JSON: UTF-8, no key twice, whole numbers") from None


def _check_attributes(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if name in {"specversion", "type", "data"}:
            continue
        if name in _TEXTS:
            proper = isinstance(value, str) and value != "" and _is_attribute(value)
        elif name == "datacontenttype":
            proper = isinstance(value, str) and _JSON.fullmatch(value) is not None
        elif name == "time":
            proper = isinstance(value, str) and _TIME.fullmatch(value) is not None
        elif _EXTENSION.fullmatch(name):
            if not _is_attribute(value):
                raise BadRequest("an extension of the event is neither text, a boolean nor a 32-bit whole number")
            continue
        else:
            raise BadRequest("the event has an attribute with a name that CloudEvents does not allow")
        if not proper:
            raise BadRequest(f"the {name} of the event is not what CloudEvents asks for; see {name}")


def _is_attribute(value: object) -> bool:
    """Return whether an attribute may have a value: bounded text without control characters, for one."""
    if isinstance(value, str):
        return len(value) <= MAX_ATTRIBUTE and _CONTROL.search(value) is None
    return isinstance(value, bool) or (isinstance(value, int) and -(2**31) <= value < 2**31)

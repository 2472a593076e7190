"""A request: what somebody asks for, its strict JSON, and what makes it well formed."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, NoReturn
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from ledger.errors import BadName, BadRequest, Refused
from ledger.model import CANARY_TARGET, Kind, Policy

#: Longest reason in characters.
MAX_REASON = 500
#: Longest time from the signature to the moment after which the command is not begun.
MAX_VALIDITY = timedelta(hours=24)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
#: Controls, lone surrogates, and the separators that terminals and log readers take for line ends.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _utc(value: object) -> datetime:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError
    return datetime.fromisoformat(value)


_Time = Annotated[datetime, BeforeValidator(_utc)]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asks for, before anything of it is believed. The field names are the keys of the JSON."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    kind: Kind
    target: str
    #: The migration to roll back; for a recovery that of its run, unless it names one member of a composite plan.
    migration: str | None = None
    #: The run to recover; None for a rollback.
    subject_run: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    #: Why, for those who read it later: one line, at most 500 characters.
    reason: str
    #: Chosen anew by whoever asks: the same id is the same command.
    command_id: UUID
    #: SHA-256 of the plan that is meant; None takes the plan as it is at submit.
    plan_sha256: str | None = None
    #: SHA-256 of the impact that may go along though the plan does not name all of it, as a refusal or a dry run tells
    #: it; None accepts nothing. Only for a rollback.
    accept_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    #: Which row wins where a preserved one meets a newer one; None: the newer one stays. Only for a recovery.
    policy: Policy | None = None
    #: SQL conditions on preserved rows, by table: only rows that meet theirs come back. Only for a recovery.
    conditions: dict[str, str] | None = None
    #: A query for one row of figures about what came back. Only for a recovery.
    report: str | None = None
    #: The installation that is meant: its id as text.
    audience: str
    issuer: str
    issued_at: _Time
    #: The command is not begun after this; at most 24 hours after `issued_at`.
    not_after: _Time


_REQUEST = TypeAdapter(Request)


def encode(request: Request) -> str:
    """Return the request as JSON; it may be one that `decode` refuses.

    Raises:
        ValueError: A time is not aware, which is the caller's mistake.
    """
    fields = {
        **vars(request),
        "command_id": str(request.command_id),
        "issued_at": _rfc3339(request.issued_at),
        "not_after": _rfc3339(request.not_after),
    }
    return json.dumps(fields)


def decode(payload: bytes) -> Request:
    """Return the request that the JSON holds.

    Raises:
        BadRequest: It is not strict JSON, or its fields are not those of a request.
        BadName: The reason is too long, or not plain text.
    """
    fields = strict_json("command", payload)
    try:
        # From JSON again, not from the dict: only there does strict mean "a string that is a UUID".
        request = _REQUEST.validate_json(json.dumps(fields))
    except ValidationError as error:
        raise BadRequest(_explain(error)) from None
    _check_kind(request)
    if not timedelta(0) < request.not_after - request.issued_at <= MAX_VALIDITY:
        raise BadRequest("not_after has to be later than issued_at, by 24 hours at most")
    check_reason(request.reason)
    return request


def _check_kind(request: Request) -> None:
    """See that a request has what its kind needs, and nothing that only others have."""
    kind = request.kind.value
    if (request.subject_run is not None) != (request.kind in {Kind.RECOVER, Kind.PURGE}):
        raise BadRequest(f"a {kind} names {'a migration, not a run' if request.subject_run else 'the run it is about'}")
    if request.kind is not Kind.ROLLBACK and (request.plan_sha256, request.accept_sha256) != (None, None):
        raise BadRequest(f"a {kind} has no plan and no impact to accept")
    if request.kind is not Kind.RECOVER and (request.policy, request.conditions, request.report) != (None, None, None):
        raise BadRequest(f"a {kind} brings nothing back: policy, conditions and report are a recovery's")
    if request.kind is Kind.CANARY and (request.target, request.migration) != (CANARY_TARGET, None):
        raise BadRequest(f"a canary touches nothing: its target is {CANARY_TARGET}, and it names no migration")


def strict_json(what: str, data: bytes, refused: type[Refused] = BadRequest) -> dict[str, Any]:
    """Return the one JSON object in the data: UTF-8, no key twice, whole numbers only.

    Args:
        what: Names it in the message.
        data: Encoded.
        refused: What to raise if it is something else.

    Raises:
        Refused: It is something else.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_no_key_twice, parse_constant=_refuse, parse_float=_refuse)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise refused(f"the {what} in the envelope is not one object of strict JSON")
    return value


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError
    return fields


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _explain(error: ValidationError) -> str:
    """Name the fields at fault, but never keys of the sender's own making: they could hold anything."""
    places = {str(item["loc"][0]) for item in error.errors(include_input=False, include_url=False) if item["loc"]}
    known = sorted(places & Request.__dataclass_fields__.keys())
    what = f"see {', '.join(known)}" if known else "it holds what no command has"
    return f"what is signed is not a command: {what}"


def check_reason(reason: str) -> None:
    """See that a reason is one line of plain text.

    Raises:
        BadName: It is too long, or not plain text.
    """
    if len(reason) > MAX_REASON:
        raise BadName(f"the reason is longer than {MAX_REASON} characters")
    if any(unicodedata.category(char) in _UNPRINTABLE for char in reason):
        raise BadName("the reason holds a control character or a line break; give one line of plain text")


def _rfc3339(time: datetime) -> str:
    if time.tzinfo is None:
        raise ValueError("times in a request are aware")
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")

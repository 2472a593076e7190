"""Statements: what somebody signs, as strict JSON, and what makes it well formed, whatever it says."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from ledger.errors import BadName, BadRequest, Refused

#: Longest reason in characters.
MAX_REASON = 500
#: Longest name of an issuer in characters.
MAX_ISSUER = 200

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
#: Controls, lone surrogates, and the separators that terminals and log readers take for line ends.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: What turns the reading direction of a line, so that it does not say what it seems to (CVE-2021-42574).
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_S = TypeVar("_S", bound="Statement")

#: Made when a kind is first read: it takes milliseconds.
_ADAPTERS: dict[type[Statement], TypeAdapter[Any]] = {}


def _utc(value: object) -> datetime:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError
    return datetime.fromisoformat(value)


Time = Annotated[datetime, BeforeValidator(_utc)]
RunNumber = Annotated[int, Field(ge=1, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What every signed statement says, before anything of it is believed. The field names are the keys of the JSON."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    #: What messages call it.
    what: ClassVar[str] = "statement"
    #: Longest time from `issued_at` to `not_after`.
    longest: ClassVar[timedelta] = timedelta(hours=24)

    #: The installation that is meant: its id as text.
    audience: str
    #: Who says it: the issuer of the key, or someone that the key speaks for.
    issuer: str
    issued_at: Time
    #: It counts for nothing from then on.
    not_after: Time

    def check(self) -> None:
        """See that what it says goes together.

        Raises:
            BadRequest: It does not.
            BadName: The reason is too long, or not plain text.
        """
        if not timedelta(0) < self.not_after - self.issued_at <= self.longest:
            minutes = self.longest // timedelta(minutes=1)
            longest = f"{minutes // 60} hours" if minutes > 60 else f"{minutes} minutes"
            raise BadRequest(f"not_after of a {self.what} has to be later than issued_at, by {longest} at most")
        check_issuer(self.issuer)
        check_reason(getattr(self, "reason", ""))


@dataclass(frozen=True, kw_only=True)
class Approval(Statement):
    """That a run which waits may go on, if it does what it was seen to do and nothing else."""

    what = "approval"

    statement: Literal["approval"] = "approval"
    command_id: UUID
    run: RunNumber
    target: str
    #: None for a command without a plan of its own.
    plan_sha256: Sha256 | None = None
    impact_sha256: Sha256
    reason: str


@dataclass(frozen=True, kw_only=True)
class Cancellation(Statement):
    """That a run is not wanted any more."""

    what = "cancellation"
    longest = timedelta(hours=1)

    statement: Literal["cancellation"] = "cancellation"
    command_id: UUID
    run: RunNumber
    target: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Access(Statement):
    """That whoever shows it may read what its issuer may see."""

    what = "access token"
    longest = timedelta(minutes=15)

    statement: Literal["access"] = "access"


def encode(statement: Statement) -> str:
    """Return the statement as JSON; it may be one that `decode` refuses.

    Raises:
        ValueError: A time is not aware, which is the caller's mistake.
    """
    return json.dumps({key: _plain(value) for key, value in vars(statement).items()})


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("times in a statement are aware")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


def decode(kind: type[_S], payload: bytes) -> _S:
    """Return the statement of a kind that the JSON holds.

    Raises:
        BadRequest: It is not strict JSON, or its fields are not those of such a statement.
        BadName: The reason is too long, or not plain text.
    """
    fields = strict_json(kind.what, payload)
    if "statement" in kind.__dataclass_fields__ and "statement" not in fields:
        raise BadRequest(f"what is signed is not a {kind.what}: see statement")
    try:
        # From the JSON, not from the dict: only there does strict mean "a string that is a UUID".
        found: _S = _adapter(kind).validate_json(payload)
    except ValidationError as error:
        raise BadRequest(_explain(kind, error)) from None
    found.check()
    return found


def _adapter(kind: type[Statement]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _explain(kind: type[Statement], error: ValidationError) -> str:
    """Name the fields at fault, but never keys of the sender's own making: they could hold anything."""
    places = {str(item["loc"][0]) for item in error.errors(include_input=False, include_url=False) if item["loc"]}
    known = sorted(places & kind.__dataclass_fields__.keys())
    what = f"see {', '.join(known)}" if known else f"it holds what no {kind.what} has"
    return f"what is signed is not a {kind.what}: {what}"


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


def check_issuer(issuer: str) -> None:
    """See that a name can be that of an issuer.

    Raises:
        BadRequest: It is empty, longer than 200 characters, or not plain text.
    """
    if not 0 < len(issuer) <= MAX_ISSUER or not _is_plain(issuer):
        raise BadRequest(f"an issuer is a line of plain text of {MAX_ISSUER} characters at most")


def _is_plain(line: str) -> bool:
    return _TURNING.isdisjoint(line) and not any(unicodedata.category(char) in _UNPRINTABLE for char in line)


def check_reason(reason: str) -> None:
    """See that a reason is one line of plain text.

    Raises:
        BadName: It is too long, or not plain text.
    """
    if len(reason) > MAX_REASON:
        raise BadName(f"the reason is longer than {MAX_REASON} characters")
    if not _is_plain(reason):
        raise BadName(
            "the reason holds a control character, a line break, or what turns the reading direction;"
            " give one line of plain text"
        )

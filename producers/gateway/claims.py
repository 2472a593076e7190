"""What an envelope claims, before anybody has looked at its signature: good for sorting, never for believing."""

from __future__ import annotations

from dataclasses import dataclass

from joserfc.util import urlsafe_b64decode

from ledger.errors import BadRequest
from ledger.statements import check_issuer, strict_json


@dataclass(frozen=True)
class Claim:
    """Who says to have signed an envelope, and which run it says to be about."""

    issuer: str | None = None
    run: int | None = None


def claimed(envelope: str) -> Claim:
    """Return what an envelope claims; nothing, where it is not one."""
    parts = envelope.split(".")
    if len(parts) != 3:
        return Claim()
    try:
        payload = strict_json("payload", urlsafe_b64decode(parts[1].encode()))
    except (ValueError, BadRequest):
        return Claim()
    run = payload.get("run")
    return Claim(_issuer(payload.get("issuer")), run if isinstance(run, int) and not isinstance(run, bool) else None)


def _issuer(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        check_issuer(value)
    except BadRequest:
        return None
    return value

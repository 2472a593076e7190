"""The documents of the gateway, as the OpenAPI document describes them. Keys may be added; these do not change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from ledger.model import Kind, State


class _Document(BaseModel):
    model_config = ConfigDict(extra="allow")


class Accepted(_Document):
    """A command that is in the ledger."""

    command_id: UUID
    run: int
    #: False where the same command came before.
    new: bool


class Reason(_Document):
    """Why a run ended as it did."""

    code: str
    message: str


class RunDocument(_Document):
    """A run, as `stepback show --json` prints it."""

    run: int
    command_id: UUID
    kind: Kind
    target: str
    migration: str | None
    state: State
    phase: str | None
    attempt: int
    requested_by: str
    reason: str
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    blocked_seconds: float | None
    plan_sha256: str | None
    impact_sha256: str | None
    error: Reason | None
    steps: list[dict[str, Any]]
    preserved: list[dict[str, Any]]


class Runs(_Document):
    """Runs, the newest first, without steps and what they preserved."""

    runs: list[RunDocument]


class PlanDocument(_Document):
    """What a rollback would do, as `stepback plan --json` prints it."""

    migration: str
    target: str
    plan_sha256: str | None
    impact_sha256: str | None
    statements: list[str]
    impact: list[dict[str, Any]]
    locks: list[dict[str, Any]]
    refusals: list[dict[str, Any]]


class InstallationDocument(_Document):
    """Which installation this is: the audience of everything that is signed for it."""

    installation: UUID


class Health(_Document):
    """That something is in order."""

    status: str

"""Approvals and cancellations: signed statements about a run, by whoever may decide."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse

from ledger.errors import BadRequest
from ledger.model import Run
from ledger.statements import Approval, Cancellation
from producers import consent
from producers.gateway import bodies, problems
from producers.gateway import gateway as gateways
from producers.gateway.claims import claimed
from producers.gateway.documents import RunDocument
from producers.gateway.gateway import VIA
from producers.gateway.tickets import limited

RunNumber = Annotated[int, Path(ge=1, le=2**63 - 1, description="The run's number.")]

router = APIRouter(tags=["consent"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": RunDocument, "description": "The run as it stands then."},
    **problems.documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503),
}
_BODY = bodies.documented(events=False)


@router.post(
    "/v1/runs/{run}/approvals",
    responses=_RESPONSES,
    openapi_extra=_BODY,
    operation_id="approve",
    summary="Approve a run that waits for it.",
)
async def approve(request: Request, run: RunNumber) -> JSONResponse:
    """Let a run go on. The statement names its command, its plan and its impact, and counts for nothing else."""
    outside = gateways.of(request).outside
    act = partial(consent.approve, engine=outside.engine, broker=outside.broker, settings=outside.settings, via=VIA)
    return await _consent(request, run, Approval, act)


@router.post(
    "/v1/runs/{run}/cancel",
    responses=_RESPONSES,
    openapi_extra=_BODY,
    operation_id="cancel",
    summary="Cancel a run before it changes anything.",
)
async def cancel(request: Request, run: RunNumber) -> JSONResponse:
    """Stop a run. One that a worker has in hand stops at its next step, unless it has just changed the target."""
    outside = gateways.of(request).outside
    act = partial(consent.cancel, engine=outside.engine, settings=outside.settings, via=VIA)
    return await _consent(request, run, Cancellation, act)


async def _consent(
    request: Request, number: int, kind: type[Approval | Cancellation], act: Callable[[str], Run]
) -> JSONResponse:
    gateway = gateways.of(request)
    envelope = await bodies.envelope(request, events=False)
    async with limited(request, kind, envelope):
        # What it claims is what it says, once its signature is believed.
        if claimed(envelope).run not in {None, number}:
            raise BadRequest(f"the {kind.what} is about another run than the address")
        run = await gateway.in_thread(partial(act, envelope))
    return JSONResponse(gateway.outside.show(run))

"""Reading: runs, their events, and what a rollback would do, as far as the reader may see."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import JSONResponse, Response, StreamingResponse

from ledger.database import transaction
from ledger.history import list_runs
from ledger.model import TERMINAL, Run, State
from ledger.names import MAX_NAME_BYTES, check_name
from producers.gateway import events, problems
from producers.gateway import gateway as gateways
from producers.gateway.consent import RunNumber
from producers.gateway.documents import PlanDocument, RunDocument, Runs
from producers.gateway.tokens import Believed

#: As ledger/names.py: no two dots in a row.
_NAME: Final = r"^[A-Za-z0-9]([.]?[A-Za-z0-9_-])*[.]?$"

Target = Annotated[str, Path(pattern=_NAME, max_length=MAX_NAME_BYTES, description="Configured name of a target.")]
Migration = Annotated[str, Path(pattern=_NAME, max_length=MAX_NAME_BYTES, description="Name of a migration.")]
#: With the bounds inside, they stand in the OpenAPI document though None is left out of it.
Before = Annotated[int, Field(ge=1, le=2**63 - 1)]
LastEvent = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]

router = APIRouter(tags=["reading"])

_PROBLEMS: dict[int | str, dict[str, Any]] = problems.documented(401, 404, 422, 429, 500, 503)


@router.get(
    "/v1/runs",
    responses={200: {"model": Runs}, **problems.documented(401, 422, 429, 500, 503)},
    operation_id="runs",
    summary="List runs, the newest first.",
)
async def runs(  # noqa: PLR0917 - parameters of the query, by name
    request: Request,
    reader: Believed,
    target: Annotated[str | SkipJsonSchema[None], Query(description="Only runs on this target.")] = None,
    state: Annotated[State | SkipJsonSchema[None], Query(description="Only runs that stand there.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
    before: Annotated[Before | SkipJsonSchema[None], Query(description="Only runs with a lower number.")] = None,
) -> JSONResponse:
    """Return runs on targets that the reader may see, without their steps and what they preserved."""
    gateway = gateways.of(request)
    targets = [each for each in reader.targets() if target in {None, each}]

    def look() -> list[Run]:
        with transaction(gateway.engine) as conn:
            return list_runs(conn, state=state, limit=limit, targets=targets, before=before)

    found = await gateway.in_thread(look)
    return JSONResponse({"runs": [gateway.outside.show(run) for run in found]})


@router.get(
    "/v1/runs/{run}",
    responses={200: {"model": RunDocument}, **_PROBLEMS},
    operation_id="run",
    summary="Show a run.",
)
async def run(request: Request, reader: Believed, run: RunNumber) -> JSONResponse:
    """Return a run with its steps and what it preserved."""
    gateway = gateways.of(request)
    return JSONResponse(gateway.outside.show(await reader.find(gateway, run)))


@router.get(
    "/v1/runs/{run}/events",
    response_class=Response,
    responses={
        200: {
            "description": "The run's audit events, each a CloudEvent; the stream ends when the run has ended.",
            "content": {events.MEDIA_TYPE: {"schema": events.SCHEMA}},
        },
        204: {"description": "The run has ended, and there is nothing after Last-Event-ID: do not come back."},
        **_PROBLEMS,
    },
    operation_id="events",
    summary="Follow a run.",
)
async def run_events(
    request: Request,
    reader: Believed,
    run: RunNumber,
    last_event_id: Annotated[
        LastEvent | SkipJsonSchema[None], Header(description="Number of the last event that is known.")
    ] = None,
) -> Response:
    """Return what has happened in a run, and what happens, until it ends or the token's time is over."""
    gateway = gateways.of(request)
    found = await reader.find(gateway, run)
    after = int(last_event_id or 0)
    if after and found.state in TERMINAL and not await events.read(gateway, run, after):
        return Response(status_code=204)
    return StreamingResponse(
        events.stream(gateway, reader, run, after),
        media_type=events.MEDIA_TYPE,
        # A proxy that gathers what it passes on would keep the events to itself.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get(
    "/v1/targets/{target}/plans/{migration}",
    responses={200: {"model": PlanDocument}, **_PROBLEMS},
    operation_id="plan",
    summary="Show what a rollback would do.",
)
async def plan(request: Request, reader: Believed, target: Target, migration: Migration) -> JSONResponse:
    """Return the dry run: exact SQL, impact, locks, and why it would be refused. Nothing is changed."""
    reader.check(check_name("target", target))
    return JSONResponse(await gateways.of(request).dry_run(target, check_name("migration", migration)))

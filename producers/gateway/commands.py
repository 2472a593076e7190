"""POST /v1/commands: a signed command comes in, is answered at once, and can be waited for."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from ledger.database import transaction
from ledger.errors import BadRequest
from ledger.history import find
from ledger.model import Run
from ledger.request import Request as Wanted
from ledger.rights import Rights
from producers.gateway import bodies, problems
from producers.gateway import gateway as gateways
from producers.gateway.claims import claimed
from producers.gateway.documents import Accepted, RunDocument
from producers.gateway.gateway import Gateway
from producers.gateway.tickets import limited
from producers.submit import Handed, NotRung, Submitted

#: Longest wait that is granted, in seconds.
MAX_WAIT: Final = 60

_WAIT: Final = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?", re.ASCII | re.IGNORECASE)


class _Direct(APIRoute):
    """A route that reads its headers itself: FastAPI's way there costs more than all that is done with the command."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request, in place of FastAPI's own, which still describes it in the document."""

        async def handle(request: Request) -> Response:
            headers = request.headers
            return await submit(request, headers.get("idempotency-key"), headers.get("prefer"))

        return handle


router = APIRouter(tags=["commands"], route_class=_Direct)

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": RunDocument, "description": "It was waited for, and the run has ended."},
    202: {
        "model": Accepted,
        "description": "The command is in the ledger.",
        "headers": {"Location": {"description": "The run.", "required": True, "schema": {"type": "string"}}},
    },
    **problems.documented(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503),
}


@router.post(
    "/v1/commands",
    status_code=202,
    responses=_RESPONSES,
    openapi_extra=bodies.documented(events=True),
    operation_id="submit",
    summary="Submit a signed command.",
)
async def submit(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            json_schema_extra={"anyOf": [{"type": "string", "pattern": "^[!-~]+$", "maxLength": 200}]},
            description="The issuer's own key: the same request under the same key is one command.",
        ),
    ] = None,
    prefer: Annotated[str | None, Header(description="wait=N: wait N seconds, 60 at most, for the run to end.")] = None,
) -> JSONResponse:
    """Write a signed command into the ledger. The same envelope again is answered the same."""
    gateway = gateways.of(request)
    envelope = await bodies.envelope(request, events=True)
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise BadRequest("there is more than one Idempotency-Key; send one")
    async with limited(request, Wanted, envelope):
        submitted = await _submit(gateway, Handed(envelope, idempotency_key))
    headers = {"Location": f"/v1/runs/{submitted.run}"}
    seconds = _wait(prefer)
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        issuer = claimed(envelope).issuer or ""
        if await gateway.watch.ended(submitted.run, seconds) and (run := await _visible(gateway, submitted, issuer)):
            return JSONResponse(gateway.outside.show(run), headers=headers)
    accepted = {"command_id": str(submitted.command_id), "run": submitted.run, "new": submitted.new}
    return JSONResponse(accepted, status_code=202, headers=headers)


async def _submit(gateway: Gateway, handed: Handed) -> Submitted:
    try:
        return await gateway.gathering.submit(handed)
    except NotRung as error:
        # It is recorded, and begins when Redis is back.
        return error.submitted


async def _visible(gateway: Gateway, submitted: Submitted, issuer: str) -> Run | None:
    """Return a run, if the issuer of its command may still see it: their rights may have changed since."""

    def look() -> Run:
        with transaction(gateway.engine) as conn:
            return find(conn, submitted.run)

    run = await gateway.in_thread(look)
    return run if Rights.of(gateway.settings, issuer).may_see(run.target) else None


def _wait(prefer: str | None) -> int | None:
    """Return the seconds of `wait=N`, at most 60; a preference that means nothing is ignored (RFC 7240)."""
    for preference in (prefer or "").split(","):
        found = _WAIT.fullmatch(preference.partition(";")[0].strip())
        if found is not None:
            return min(int(found[1]), MAX_WAIT)
    return None

"""What anybody may ask: which installation this is, whether the process lives, whether it can do its work."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog
from fastapi import APIRouter, Request
from redis.exceptions import RedisError
from sqlalchemy import text
from starlette.responses import JSONResponse

from ledger.database import transaction
from ledger.errors import LedgerUnreachable
from producers.gateway import gateway as gateways
from producers.gateway import problems
from producers.gateway.documents import Health, InstallationDocument
from producers.gateway.gateway import Gateway
from producers.gateway.limits import of_address
from producers.gateway.problems import Problem

#: How long an answer is given again, so that asking often costs nothing.
_FRESH_SECONDS: Final = 1.0

_ALIVE: Final = text("SELECT 1")

log = structlog.get_logger(__name__)


class Readiness:
    """Whether ledger and queue answer, asked once for all who want to know."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._missing: tuple[str, ...] = ()

    async def missing(self, gateway: Gateway) -> tuple[str, ...]:
        """Return what does not answer."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._missing = await gateway.in_thread(lambda: _missing(gateway))
                self._until = time.monotonic() + _FRESH_SECONDS
            return self._missing


def routes() -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["probes"])
    readiness = Readiness()

    @router.get(
        "/v1/installation",
        responses={200: {"model": InstallationDocument}, **problems.documented(429, 500)},
        operation_id="installation",
        summary="Say which installation this is.",
    )
    async def installation(request: Request) -> JSONResponse:
        """Return the id that has to be the audience of everything that is signed for here."""
        gateway = gateways.of(request)
        address = of_address(gateways.address_of(request))
        gateway.limits.check(address)
        gateway.limits.charge(address)
        return JSONResponse({"installation": str(gateway.outside.installation)})

    @router.get("/healthz", responses={200: {"model": Health}}, operation_id="health", summary="Say that it lives.")
    async def health() -> JSONResponse:
        """Return that the process answers, whatever else does."""
        return JSONResponse({"status": "ok"})

    @router.get(
        "/readyz",
        responses={200: {"model": Health}, **problems.documented(500, 503)},
        operation_id="ready",
        summary="Say whether it can work.",
    )
    async def ready(request: Request) -> JSONResponse:
        """Return whether ledger and queue answer. Without the queue commands are taken, and carried out later."""
        if missing := await readiness.missing(gateways.of(request)):
            raise Problem(503, "not_ready", f"{' and '.join(missing)} did not answer", {"Retry-After": "2"})
        return JSONResponse({"status": "ok"})

    return router


def _missing(gateway: Gateway) -> tuple[str, ...]:
    missing = []
    try:
        with transaction(gateway.engine) as conn:
            conn.execute(_ALIVE)
    except LedgerUnreachable:
        missing.append("the ledger")
    try:
        gateway.outside.broker.client.ping()
    except (RedisError, OSError):
        missing.append("Redis")
    if missing:
        log.warning("not_ready", missing=missing)
    return tuple(missing)

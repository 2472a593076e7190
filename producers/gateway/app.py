"""The application: every route, and what holds for all of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from producers.gateway import commands, consent, counting, probes, problems, reading
from producers.gateway.gateway import Gateway

_ABOUT = """\
Signed commands come in, and whoever may reads what becomes of them. Every envelope is a compact JWS, signed with
Ed25519 by a registered key; what each issuer may ask for and see is configured. docs/gateway.md tells more.
"""


def create_app(gateway: Gateway, version: str) -> FastAPI:
    """Return the application.

    Args:
        gateway: What its requests stand on.
        version: Of Stepback.
    """
    app = FastAPI(
        title="Stepback gateway",
        description=_ABOUT,
        version=version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    problems.handle(app)
    for router in (commands.router, consent.router, reading.router, probes.routes()):
        app.include_router(router)
    app.add_middleware(counting.Counting)
    _describe(app)
    counting.initialise(app.openapi())
    return app


def _describe(app: FastAPI) -> None:
    """Put the schema of problems, which every route refers to, into the OpenAPI document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = problems.SCHEMA
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it

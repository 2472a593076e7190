"""How many requests there were, by route and status; paths as they came could be without number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi.routing import APIRoute
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producers.refusals import REGISTRY

__all__ = ["NO_ROUTE", "REGISTRY", "REQUESTS", "Counting", "initialise"]

REQUESTS: Final = Counter(
    "stepback_gateway_requests", "HTTP requests by route and status", ["route", "status"], registry=REGISTRY
)
#: The route of a request that meets none.
NO_ROUTE: Final = "none"


class Counting:
    """Counts every request of the application inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                REQUESTS.labels(_route(scope), str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counting)


def initialise(document: Mapping[str, Any]) -> None:
    """Create the label sets of everything that routes are documented to answer, at 0.

    Args:
        document: OpenAPI.
    """
    for route, methods in document["paths"].items():
        for operation in methods.values():
            for status in operation["responses"]:
                REQUESTS.labels(route, status)


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return route.path if isinstance(route, APIRoute) else NO_ROUTE

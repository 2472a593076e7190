"""Errors over HTTP: problem details (RFC 9457) with the code words of docs/errors.md."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ledger.errors import Refused, StepbackError

MEDIA_TYPE: Final = "application/problem+json"

#: Where a refusal is not 422: what was signed is understood, and not to be done.
_STATUS: Final = {
    "bad_signature": 401,
    "not_allowed": 403,
    "unknown_target": 404,
    "unknown_migration": 404,
    "unknown_run": 404,
    "replayed": 409,
    "conflict": 409,
    "not_awaiting": 409,
    "impact_changed": 409,
    "limit_reached": 429,
    "ledger_unreachable": 503,
    "queue_unreachable": 503,
    "target_unreachable": 503,
}
#: What the house says of these would tell a stranger which targets and runs there are.
_UNKNOWN: Final = {
    "unknown_target": "there is no such target, or none that the issuer may see",
    "unknown_run": "there is no such run, or none that the issuer may see",
    # Nor is a name repeated that may be anything.
    "unknown_migration": "there is no plan for that migration: neither a folder nor a row in migration_rollbacks",
}
#: Seconds after which it makes sense to try again. When an hourly limit has room again depends on what was asked within
#: the hour, so that `limit_reached` names no time.
_RETRY_AFTER: Final = {"ledger_unreachable": 2, "queue_unreachable": 2, "target_unreachable": 5}
#: A 401 has to say how one gets in (RFC 9110).
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="stepback"'}
#: Code words for what goes wrong before anything signed is looked at.
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}

#: The schema of every problem, for the OpenAPI document.
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details as of RFC 9457; `code` is a word of docs/errors.md or docs/gateway.md.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:stepback:error:[a-z_]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^[a-z_]+$"},
    },
}

log = structlog.get_logger(__name__)


class Problem(Exception):
    """Something about a request over HTTP that is not as it has to be; no detail repeats any of it."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = {**(headers or {})}


def of_error(error: StepbackError) -> Problem:
    """Return an error of the house as a problem."""
    status = _STATUS.get(error.code, 422 if isinstance(error, Refused) else 500)
    if status >= 500:
        log.warning("request_failed", code=error.code, reason=error.message)
    detail = _UNKNOWN.get(error.code, error.message)
    if status == 500:
        # A message about the configuration is for whoever may read it.
        detail = "something on this side is not in order; the log of the gateway says what"
    headers = dict(_CHALLENGE) if status == 401 else {}
    if error.code in _RETRY_AFTER:
        headers["Retry-After"] = str(_RETRY_AFTER[error.code])
    return Problem(status, error.code, detail, headers)


def respond(problem: Problem) -> JSONResponse:
    """Return the response that tells a problem."""
    document = {
        "type": f"urn:stepback:error:{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    return JSONResponse(document, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of problems with these statuses."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def handle(app: FastAPI) -> None:
    """Have every error of an application told as a problem."""

    @app.exception_handler(Problem)
    async def _problem(_request: Request, problem: Problem) -> JSONResponse:
        return respond(problem)

    @app.exception_handler(StepbackError)
    async def _error(_request: Request, error: StepbackError) -> JSONResponse:
        return respond(of_error(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Where only: the names are those of declared parameters, the values could hold anything.
        places = {" ".join(str(part) for part in item["loc"][:2]) for item in error.errors()}
        return respond(Problem(422, "bad_request", f"not as the OpenAPI document says: {', '.join(sorted(places))}"))

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "bad_request")
        detail = f"{HTTPStatus(error.status_code).phrase}; /openapi.json says what there is"
        return respond(Problem(error.status_code, code, detail, error.headers))

    @app.exception_handler(Exception)
    async def _unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        # What went wrong is logged by the server, to which the error goes on.
        return respond(Problem(500, "internal_error", "something went wrong here; the log of the gateway says what"))

"""Who reads: a bearer token is an `Access` statement, signed like everything else and good for minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ledger.database import transaction
from ledger.envelope import believe
from ledger.errors import BadRequest, BadSignature, Expired, StepbackError, UnknownRun, UnknownTarget
from ledger.history import find
from ledger.model import Run
from ledger.rights import Rights
from ledger.settings import Settings
from ledger.statements import Access
from producers.gateway import gateway as gateways
from producers.gateway.gateway import Gateway
from producers.gateway.limits import of_address, of_issuer, too_many
from producers.gateway.problems import Problem

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="access",
    bearerFormat="JWS",
    description="The compact JWS of an access statement: audience, issuer, issued_at, not_after (15 minutes at most).",
)


@dataclass(frozen=True)
class Reader:
    """Somebody who may read, as their signature says."""

    settings: Settings
    rights: Rights
    #: When their token's time is over.
    until: datetime

    def targets(self) -> list[str]:
        """Return the configured targets that they may see."""
        return [target for target in self.settings.targets if self.rights.may_see(target)]

    def seconds_left(self) -> float:
        """Return for how many seconds their token still counts."""
        return (self.until - datetime.now(UTC)).total_seconds()

    def check(self, target: str) -> None:
        """See that they may read about a target.

        Raises:
            UnknownTarget: It is not there, as far as they know.
        """
        if target not in self.targets():
            raise UnknownTarget("there is no such target, or none that the issuer may see")

    async def find(self, gateway: Gateway, number: int) -> Run:
        """Return a run.

        Raises:
            UnknownRun: It is not there, as far as they know.
            LedgerUnreachable: The ledger does not answer.
        """

        def look() -> Run:
            with transaction(gateway.engine) as conn:
                return find(conn, number)

        run = await gateway.in_thread(look)
        if run.target not in self.targets():
            raise UnknownRun("there is no such run, or none that the issuer may see")
        return run


async def _reader(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Reader:
    """Believe a token.

    Raises:
        Problem: 401 or 429.
    """
    gateway = gateways.of(request)
    address = of_address(gateways.address_of(request))
    try:
        access = await _believe(gateway, request, credentials)
    except (BadSignature, BadRequest, Expired) as error:
        if seconds := gateway.limits.wait(address):
            raise too_many(seconds) from None
        gateway.limits.charge(address)
        raise _unauthorized(error) from None
    gateway.limits.check(of_issuer(access.issuer))
    gateway.limits.charge(of_issuer(access.issuer))
    return Reader(gateway.settings, Rights.of(gateway.settings, access.issuer), access.not_after)


#: A parameter of this type is believed before the request is looked at.
Believed = Annotated[Reader, Depends(_reader)]


async def _believe(gateway: Gateway, request: Request, credentials: HTTPAuthorizationCredentials | None) -> Access:
    if credentials is None or len(request.headers.getlist("authorization")) != 1:
        raise BadSignature("reading needs one header Authorization: Bearer, with a signed access statement")
    token = credentials.credentials

    def look() -> Access:
        with transaction(gateway.engine) as conn:
            return believe(conn, Access, token, gateway.outside.installation)

    return await gateway.in_thread(look)


def _unauthorized(error: StepbackError) -> Problem:
    """Whatever is wrong with a token, the answer is to sign a new one."""
    challenge = 'Bearer realm="stepback", error="invalid_token"'
    return Problem(401, error.code, error.message, {"WWW-Authenticate": challenge})

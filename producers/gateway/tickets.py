"""Envelopes at the door: who sends too many is sent away before the house has work with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Request

from ledger import keys
from ledger.database import transaction
from ledger.envelope import open_statement
from ledger.errors import Refused, StepbackError
from ledger.statements import Statement
from producers.gateway import gateway as gateways
from producers.gateway.claims import claimed
from producers.gateway.gateway import Gateway
from producers.gateway.limits import of_address, of_issuer, too_many

#: Refusals that leave it open whose signature it is, if it is one.
_DOUBTS: Final = frozenset({"bad_signature", "bad_request", "bad_name"})


@asynccontextmanager
async def limited(request: Request, kind: type[Statement], envelope: str) -> AsyncIterator[None]:
    """Let something be done with an envelope, and charge whoever signed it, or its address where nobody did.

    Args:
        request: Brought it.
        kind: What it has to be.
        envelope: Not opened yet.

    Raises:
        Problem: 429: the issuer that it claims has asked too often, or its address has brought too many that are not
            to be believed, and neither is this one.
    """
    gateway = gateways.of(request)
    address = of_address(gateways.address_of(request))
    issuer = claimed(envelope).issuer
    if issuer is not None:
        # Claiming to be another who has asked too often harms nobody else.
        gateway.limits.check(of_issuer(issuer))
    seconds = gateway.limits.wait(address)
    # Many may share an address: that of a proxy. The others go on to be heard, at the price of a look at the signature.
    if seconds and not await gateway.in_thread(lambda: _is_signed(gateway, kind, envelope)):
        raise too_many(seconds)
    try:
        yield
    except Refused as error:
        gateway.limits.charge(address if issuer is None or error.code in _DOUBTS else of_issuer(issuer))
        raise
    else:
        gateway.limits.charge(address if issuer is None else of_issuer(issuer))


def _is_signed(gateway: Gateway, kind: type[Statement], envelope: str) -> bool:
    try:
        with transaction(gateway.engine) as conn:
            open_statement(kind, envelope, lambda key_id: keys.find_key(conn, key_id))
    except StepbackError:
        return False
    return True

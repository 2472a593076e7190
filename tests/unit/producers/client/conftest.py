"""A client of a service, and a server that answers it as it is told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from joserfc.jwk import OKPKey

from stepback_client import Client
from tests.unit.producers.client.answering import Server, serving

ISSUER = "service:billing"


@pytest.fixture(scope="session")
def okp() -> OKPKey:
    """Give the key of the service."""
    return OKPKey.generate_key("Ed25519")


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server that has no answer yet."""
    with serving() as server:
        yield server


@pytest.fixture
def client(server: Server, okp: OKPKey) -> Iterator[Client]:
    """Give a client that knows the server."""
    with Client(server.url, key=okp.as_pem(private=True), issuer=ISSUER, timeout=10) as client:
        yield client

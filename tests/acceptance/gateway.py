"""A gateway process for acceptance tests, and an outside service with a key of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from ledger.model import Kind
from ledger.request import Request
from ledger.statements import Access, Statement
from producers.envelope import sign
from producers.keys import PrivateKey, read_key
from tests.acceptance.commandline import CommandLine, wait_for

ISSUER = "service:billing"
#: What stepback.toml gives it.
RIGHTS = f"""
[producers."{ISSUER}"]
kinds = ["rollback", "recover", "validate"]
targets = ["goodbuy_*"]
"""


@dataclass(frozen=True)
class Outsider:
    """A service that knows the gateway's address and has a key, and nothing else."""

    url: str
    key: PrivateKey

    def signed(self, kind: type[Statement], /, **fields: Any) -> str:  # noqa: ANN401 - any field
        """Sign a statement for the installation that the gateway names."""
        now = datetime.now(UTC)
        common = {
            "audience": httpx.get(f"{self.url}/v1/installation").json()["installation"],
            "issuer": self.key.issuer,
            "issued_at": now,
            "not_after": now + timedelta(minutes=10),
        }
        return sign(kind(**common, **fields), self.key)

    def rollback(self, migration: str) -> str:
        """Ask for a rollback."""
        asked = {"kind": Kind.ROLLBACK, "target": "goodbuy_hq", "migration": migration}
        return self.signed(Request, **asked, reason="wrong scores", command_id=uuid4())

    def token(self) -> str:
        """Ask to read."""
        return self.signed(Access)


def give_rights(cli: CommandLine) -> None:
    """Write down what the outsider may do, before anything starts."""
    (cli.folder / "stepback.toml").write_text(RIGHTS, encoding="utf-8")


@contextmanager
def gateway(cli: CommandLine, folder: Path) -> Iterator[Outsider]:
    """Keep a gateway process running, and give somebody who uses it.

    Args:
        cli: Where; `give_rights` was called.
        folder: Takes its log and the key.
    """
    log, pem = folder / "gateway.log", folder / "billing.pem"
    cli.succeed("keys", "new", "--issuer", ISSUER, "--out", str(pem))
    with cli.running("gateway", log=log) as process:
        # What it says and what it logs come by ways of their own: either may be first.
        wait_for("the gateway to start", lambda: url_in(log) is not None)
        url = url_in(log)
        assert url is not None
        yield Outsider(url, read_key(pem, ISSUER))
    assert process.returncode == 0, log.read_text(encoding="utf-8")
    assert "Traceback" not in log.read_text(encoding="utf-8")


def url_in(log: Path) -> str | None:
    """Return the URL that a gateway has said it listens on; None as long as it has not."""
    found = re.search(r'"url": "(http://[^"]+)"', log.read_text(encoding="utf-8"))
    return None if found is None else found[1]

"""A service that has none of our code asks by redis-cli, and its rollback is carried out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
import sqlalchemy

from ledger.installation import installation_id
from stepback.embedded.redis_server import binary
from tests.acceptance.commandline import CommandLine, said, wait_for
from tests.streaming import cloud_event

ISSUER = "service:billing"

_RIGHTS = f"""
[producers."{ISSUER}"]
kinds = ["rollback", "recover", "validate"]
targets = ["goodbuy_*"]
"""

#: What a service in any language does: JSON, base64url, Ed25519 (RFC 7515, RFC 8037). Nothing of Stepback is imported.
_SIGN = """
import base64, datetime, hashlib, json, sys, uuid
from cryptography.hazmat.primitives import serialization

pem, audience, issuer, fields = sys.argv[1:]
encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
key = serialization.load_pem_private_key(open(pem, "rb").read(), None)
raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
jwk = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": encode(raw)}, separators=(",", ":"))
now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
text = lambda time: time.isoformat().replace("+00:00", "Z")
header = {"alg": "Ed25519", "kid": encode(hashlib.sha256(jwk.encode()).digest())}
payload = {
    "command_id": str(uuid.uuid4()), "audience": audience, "issuer": issuer, "reason": "bad release",
    "issued_at": text(now), "not_after": text(now + datetime.timedelta(minutes=10)), **json.loads(fields),
}
signed = encode(json.dumps(header).encode()) + "." + encode(json.dumps(payload).encode())
print(signed + "." + encode(key.sign(signed.encode())))
"""


class Outside:
    """A service with a private key, redis-cli and a few lines of its own."""

    def __init__(self, key: Path, installation: str, redis_url: str, name: str) -> None:
        self._key, self._installation = key, installation
        self._socket = unquote(urlsplit(redis_url).path)
        self.stream = name

    def envelope(self, **fields: object) -> str:
        """Sign a command."""
        arguments = [str(self._key), self._installation, ISSUER, json.dumps(fields)]
        return _output(sys.executable, "-I", "-c", _SIGN, *arguments).strip()

    def redis(self, *arguments: str) -> list[str]:
        """Run redis-cli; return the lines that it prints."""
        return _output(str(binary().with_name("redis-cli")), "-s", self._socket, *arguments).splitlines()

    def answer(self, entry: str) -> dict[str, str]:
        """Wait for what is told of an entry."""
        wait_for("an answer", lambda: entry in self.redis("XRANGE", f"{self.stream}.answers", "-", "+"))
        lines = self.redis("XRANGE", f"{self.stream}.answers", "-", "+")
        fields = lines[lines.index(entry) - 1 :][:8]
        return dict(zip(fields[::2], fields[1::2], strict=True))


def _output(*command: str) -> str:
    return subprocess.run([*command], capture_output=True, check=True, text=True, timeout=30).stdout


@pytest.fixture(autouse=True)
def rights(bare: CommandLine) -> None:
    """Give the service its rights before any process reads them: the worker looks at them again."""
    (bare.folder / "stepback.toml").write_text(_RIGHTS, encoding="utf-8")


@pytest.fixture
def outside(
    cli: CommandLine, redis_url: str, redis_namespace: str, ledger_engine: sqlalchemy.Engine, tmp_path: Path
) -> Iterator[tuple[Outside, CommandLine]]:
    """Give a service whose key is registered, and the command line of a house in which a consumer runs."""
    name = f"{redis_namespace}.commands"
    cli = cli.but(
        STEPBACK_STREAM_NAME=name,
        STEPBACK_STREAM_ANSWERS=f"{name}.answers",
        STEPBACK_STREAM_DEAD_LETTERS=f"{name}.dead",
    )
    key = tmp_path / "billing.pem"
    cli.succeed("keys", "new", "--issuer", ISSUER, "--out", str(key))
    log = tmp_path / "stream.log"
    with cli.running("stream", log=log) as process:
        wait_for("the consumer to start", said(log, "stream_started"))
        yield Outside(key, str(installation_id(ledger_engine)), redis_url, name), cli
    assert process.returncode == 0, log.read_text(encoding="utf-8")


@pytest.mark.usefixtures("worker")
def test_a_rollback_by_redis_cli_is_carried_out(outside: tuple[Outside, CommandLine], target_url: str) -> None:
    """XADD of a signed command makes a run that completes; its answer names the run, and a CloudEvent undoes it."""
    service, cli = outside
    signed = service.envelope(kind="rollback", target="goodbuy_hq", migration="add_health_metrics_table")

    (entry,) = service.redis("XADD", service.stream, "*", "envelope", signed)
    run = service.answer(entry)["run"]
    wait_for("the run to end", lambda: bool(cli.succeed("show", run)["finished_at"]))

    ended = cli.succeed("show", run)
    assert (ended["state"], ended["requested_by"], ended["reason"]) == ("completed", ISSUER, "bad release")
    assert not _has_table(target_url)
    assert service.redis("XLEN", service.stream) == ["0"]

    event = cloud_event(service.envelope(kind="recover", target="goodbuy_hq", subject_run=int(run)))
    (entry,) = service.redis("XADD", service.stream, "*", "event", event)
    back = service.answer(entry)["run"]
    wait_for("the recovery to end", lambda: bool(cli.succeed("show", back)["finished_at"]))

    assert cli.succeed("show", back)["state"] == "completed"
    assert _has_table(target_url)


def test_a_refusal_reaches_who_asked(outside: tuple[Outside, CommandLine]) -> None:
    """What may not be asked for is answered with its code; the dead letter says what to do."""
    service, _ = outside
    signed = service.envelope(kind="purge", target="goodbuy_hq", subject_run=1)

    (entry,) = service.redis("XADD", service.stream, "*", "envelope", signed)

    answer = service.answer(entry)
    letter = service.redis("XRANGE", f"{service.stream}.dead", "-", "+")
    assert (answer["run"], answer["code"]) == ("", "not_allowed")
    assert letter[1:6] == ["entry", entry, "code", "not_allowed", "message"]
    assert ISSUER in letter[6]


def _has_table(url: str) -> bool:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT to_regclass('public.health_metrics') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])

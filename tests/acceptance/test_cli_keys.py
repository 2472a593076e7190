"""`keys`, from the command line: made, registered, listed, revoked, and what that means for whoever signs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.acceptance.commandline import CommandLine

_ROLLBACK = ("rollback", "add_health_metrics_table", "--target", "goodbuy_hq")


def test_a_new_key_signs_and_a_revoked_one_does_not(cli: CommandLine) -> None:
    """The private half is for its owner only; after it was revoked nothing signed with it is accepted."""
    path = cli.folder / "grace.pem"
    key_id = cli.succeed("keys", "new", "--issuer", "local:grace", "--out", str(path), "--expires", "90d")["key_id"]
    grace = cli.but(STEPBACK_KEY=str(path), STEPBACK_ISSUER="local:grace")

    first = grace.succeed(*_ROLLBACK)
    cli.succeed("keys", "revoke", key_id)
    second = grace.run(*_ROLLBACK, "--json")
    (listed,) = [key for key in cli.succeed("keys", "list") if key["issuer"] == "local:grace"]

    assert path.stat().st_mode & 0o777 == 0o600
    assert first["requested_by"] == "local:grace"
    assert (second.code, second.error) == (3, "bad_signature")
    assert (listed["key_id"], listed["accepted"]) == (key_id, False)
    assert listed["revoked_at"] is not None
    assert listed["expires_at"] is not None


def test_a_key_of_openssl_is_accepted(cli: CommandLine) -> None:
    """Only its public half has to be known here."""
    private, public = cli.folder / "billing.pem", cli.folder / "billing.pub.pem"
    _openssl("genpkey", "-algorithm", "ed25519", "-out", str(private))
    _openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
    private.chmod(0o600)

    cli.succeed("keys", "add", "--issuer", "local:billing", str(public))

    billing = cli.but(STEPBACK_KEY=str(private), STEPBACK_ISSUER="local:billing")
    assert billing.succeed(*_ROLLBACK)["requested_by"] == "local:billing"
    assert cli.run("keys", "add", "--issuer", "local:x", str(private), "--json").error == "bad_key"


def test_a_key_in_a_file_that_is_there_is_not_overwritten(cli: CommandLine) -> None:
    """It may be the only copy of another."""
    path = cli.folder / "grace.pem"
    path.write_text("precious", encoding="utf-8")

    done = cli.run("keys", "new", "--issuer", "local:grace", "--out", str(path), "--json")

    assert (done.code, done.error) == (2, "bad_configuration")
    assert path.read_text(encoding="utf-8") == "precious"


def test_a_key_without_a_name_is_a_mistake(cli: CommandLine) -> None:
    """Whose it is has to be said; a file that others can read is refused."""
    path = cli.folder / "grace.pem"
    cli.succeed("keys", "new", "--issuer", "local:grace", "--out", str(path))

    nameless = cli.but(STEPBACK_KEY=str(path)).run(*_ROLLBACK, "--json")
    path.chmod(0o644)
    opened = cli.but(STEPBACK_KEY=str(path), STEPBACK_ISSUER="local:grace").run(*_ROLLBACK, "--json")

    assert "STEPBACK_ISSUER" in nameless.document["error"]["message"]
    assert "open to other users" in opened.document["error"]["message"]
    assert (nameless.code, opened.code) == (2, 2)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=Path("/"))

"""`keys`: whose signatures are accepted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from ledger import keys as registered
from ledger.database import transaction
from ledger.keys import SigningKey, thumbprint
from ledger.statements import check_issuer
from producers.keys import new_key, read_public_key
from stepback.cli.options import Duration, installation, json_option
from stepback.show import documents
from stepback.show.console import out, plain
from stepback.show.keys import of_keys

_issuer = click.option("--issuer", required=True, metavar="NAME", help="Who signs with it, such as service:billing.")
_expires = click.option(
    "--expires", type=Duration(), metavar="90d", help="Accept it for so long; without, until it is revoked."
)


@click.group()
def keys() -> None:
    """Keep the keys whose signatures are accepted. What each may ask for is written in stepback.toml.

    To change a key without a pause: make the new one, have the service sign with it, then revoke the old one.
    """


@keys.command()
@_issuer
@click.option("--out", "path", type=click.Path(path_type=Path), required=True, help="File for the private key.")
@_expires
@json_option
def new(*, issuer: str, path: Path, expires: timedelta | None, as_json: bool) -> None:
    """Make a key, and accept its signatures from now on."""
    with installation() as here:
        # Refused before there is a file that nobody wants.
        check_issuer(issuer)
        key = new_key(path, issuer)
        with transaction(here.engine) as conn:
            registered.register_key(conn, key.key_id, issuer, key.public_key, expires_at=_end(expires))
    _tell(key.key_id, f"{path} holds the key of {issuer}, {key.key_id}: keep it secret", as_json=as_json)


@keys.command()
@_issuer
@click.argument("public", type=click.Path(path_type=Path), metavar="PUBLIC.pem")
@_expires
@json_option
def add(*, issuer: str, public: Path, expires: timedelta | None, as_json: bool) -> None:
    """Accept the signatures of a key that was made elsewhere: PUBLIC.pem is its public half."""
    public_key = read_public_key(public)
    key_id = thumbprint(public_key)
    with installation() as here, transaction(here.engine) as conn:
        registered.register_key(conn, key_id, issuer, public_key, expires_at=_end(expires))
    _tell(key_id, f"signatures of {issuer} with the key {key_id} are accepted", as_json=as_json)


@keys.command(name="list")
@json_option
def list_keys(*, as_json: bool) -> None:
    """List every key, those revoked or expired too."""
    with installation() as here, transaction(here.engine) as conn:
        found = registered.list_keys(conn)
    if as_json:
        documents.put_out([_document(key) for key in found])
    else:
        out().print(of_keys(found))


@keys.command()
@click.argument("key_id", metavar="KEY_ID")
@json_option
def revoke(*, key_id: str, as_json: bool) -> None:
    """Accept nothing any more that is signed with a key; what waits signed with it is refused as well."""
    with installation() as here:
        actor = here.key.issuer
        with transaction(here.engine) as conn:
            anew = registered.revoke_key(conn, key_id, actor=actor)
    _tell(key_id, "the key is revoked" if anew else "the key was revoked already", as_json=as_json)


def _end(expires: timedelta | None) -> datetime | None:
    return None if expires is None else datetime.now(UTC) + expires


def _tell(key_id: str, told: str, *, as_json: bool) -> None:
    if as_json:
        documents.put_out({"key_id": key_id})
    else:
        out().print(plain(told), soft_wrap=True)


def _document(key: SigningKey) -> documents.Document:
    return {
        "key_id": key.key_id,
        "issuer": key.issuer,
        "created_at": documents.time(key.created_at),
        "expires_at": documents.time(key.expires_at),
        "revoked_at": documents.time(key.revoked_at),
        "accepted": key.revoked_at is None and not key.expired,
    }

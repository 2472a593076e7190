"""Private keys: in files that only their owner can read. The local operator's is made on first use."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.errors import BadConfiguration, BadKey
from ledger.keys import register_key


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs commands, and the names it goes by."""

    #: The RFC 7638 thumbprint of the public key, so that a key id can mean one key only.
    key_id: str
    #: Who asks, as written in every command and audit event.
    issuer: str
    okp: OKPKey = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that the ledger keeps."""
        return urlsafe_b64decode(str(self.okp.as_dict()["x"]).encode())

    @classmethod
    def of(cls, okp: OKPKey, issuer: str) -> PrivateKey:
        """Return a key under its thumbprint."""
        return cls(key_id=okp.thumbprint(), issuer=issuer, okp=okp)


def local_operator(data: Path) -> PrivateKey:
    """Return the key of whoever runs the command line here; the first call makes it.

    Args:
        data: The data folder; the key is its `keys/operator.pem`, readable for its owner only.

    Raises:
        BadConfiguration: The file or its folder is open to others, or the file holds no Ed25519 key.
    """
    return kept_key(data / "keys" / "operator.pem", f"local:{_user()}")


def kept_key(path: Path, issuer: str) -> PrivateKey:
    """Return the key in a file of a folder of keys; the first use makes both. Of two first uses one makes the key.

    Args:
        path: Its file and its folder are for their owner only.
        issuer: Whose it is.

    Raises:
        BadConfiguration: The file or its folder is open to others, or the file holds no Ed25519 key.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_open(path.parent, path.parent.lstat(), stat.S_ISDIR)
        if not path.exists():
            with suppress(FileExistsError):
                _make(path)
        return PrivateKey.of(_read(path), issuer)
    except OSError as error:
        raise BadConfiguration(f"the key {path} cannot be used: {error.strerror}") from error


def new_key(path: Path, issuer: str) -> PrivateKey:
    """Make a key in a new file.

    Args:
        path: Where; nothing may be there.
        issuer: Who will sign with it.

    Raises:
        BadConfiguration: Something is there, or nothing can be written there.
    """
    try:
        _make(path)
        return PrivateKey.of(_read(path), issuer)
    except FileExistsError:
        raise BadConfiguration(f"{path} is there already; name another file for the new key") from None
    except OSError as error:
        raise BadConfiguration(f"the key {path} cannot be written: {error.strerror}") from error


def read_key(path: Path, issuer: str) -> PrivateKey:
    """Return the key in a file.

    Args:
        path: A private Ed25519 key in PEM, PKCS#8, that only its owner can read.
        issuer: Whose it is.

    Raises:
        BadConfiguration: The file is open to others, or holds no such key.
    """
    try:
        return PrivateKey.of(_read(path), issuer)
    except OSError as error:
        raise BadConfiguration(f"the key {path} cannot be used: {error.strerror}") from error


def read_public_key(path: Path) -> bytes:
    """Return the 32 bytes of a public Ed25519 key in a PEM file.

    Raises:
        BadKey: It holds something else.
        BadConfiguration: It cannot be read.
    """
    try:
        okp = OKPKey.import_key(path.read_bytes())
    except OSError as error:
        raise BadConfiguration(f"the key {path} cannot be read: {error.strerror}") from error
    except (JoseError, ValueError, TypeError):
        okp = None
    if okp is None or okp.curve_name != "Ed25519" or okp.is_private:
        raise BadKey(f"{path} holds no public Ed25519 key; `openssl pkey -pubout` takes it out of a private one")
    return PrivateKey.of(okp, "").public_key


def register_local_operator(engine: Engine, key: PrivateKey) -> None:
    """Make the operator's key known to the ledger; once it is, nothing happens.

    Whoever may write to the ledger may so give themselves a voice. What each voice may ask is a matter of rights.

    Raises:
        NotAllowed: The key was revoked, or is registered for another issuer.
        LedgerUnreachable: The ledger does not answer.
    """
    with transaction(engine) as conn:
        register_key(conn, key.key_id, key.issuer, key.public_key)


def _make(path: Path) -> None:
    """Write a new key under another name first: nobody may see half a key, and of two writers one wins.

    Raises:
        FileExistsError: Something is there, by another writer perhaps; it stays.
    """
    pem = OKPKey.generate_key("Ed25519").as_pem(private=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        Path(path).hardlink_to(name)
    finally:
        Path(name).unlink()


def _read(path: Path) -> OKPKey:
    # Judged and read through one descriptor, so that the file judged is the file read.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _refuse_open(path, os.fstat(descriptor), stat.S_ISREG)
        pem = file.read()
    try:
        okp = OKPKey.import_key(pem)
    except (JoseError, ValueError, TypeError):
        okp = None
    if okp is None or okp.curve_name != "Ed25519" or not okp.is_private:
        raise BadConfiguration(f"{path} holds no private Ed25519 key; move it away and a new one is made")
    return okp


def _refuse_open(path: Path, status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    if not is_kind(status.st_mode):
        raise BadConfiguration(f"{path} is neither a plain file nor a folder; move it away")
    if status.st_uid != os.geteuid():
        raise BadConfiguration(f"{path} belongs to another user; run as that user, or use another data folder")
    if status.st_mode & 0o077:
        raise BadConfiguration(f"{path} is open to other users; chmod go= it, and replace the key if it was read")


def _user() -> str:
    """Return the name of the effective user; the environment could name anybody."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())

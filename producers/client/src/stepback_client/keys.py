"""The private key that commands are signed with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from stepback_client.errors import BadKey


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key; the private half is neither shown nor written anywhere."""

    #: The RFC 7638 thumbprint of the public half, which `stepback keys add` registers it under.
    key_id: str
    okp: OKPKey = field(repr=False)

    @classmethod
    def read(cls, pem: Path | bytes) -> SigningKey:
        """Return the key in a file, or in PEM at hand.

        Args:
            pem: PKCS #8, unencrypted, as `openssl genpkey -algorithm ed25519` writes it.

        Raises:
            BadKey: The file cannot be read, or it holds something else.
        """
        where = "the PEM given" if isinstance(pem, bytes) else str(pem)
        try:
            okp = OKPKey.import_key(pem if isinstance(pem, bytes) else pem.read_bytes())
        except OSError as error:
            raise BadKey(f"the key {where} cannot be read: {error.strerror}") from None
        except (JoseError, ValueError, TypeError):
            # The library's words may hold parts of the text.
            okp = None
        if okp is None or okp.curve_name != "Ed25519" or not okp.is_private:
            raise BadKey(
                f"{where} holds no private Ed25519 key in unencrypted PEM; make one with `stepback keys new`"
                " or `openssl genpkey -algorithm ed25519`"
            )
        return cls(okp.thumbprint(), okp)

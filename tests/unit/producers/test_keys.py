"""Keys are made once, and are nobody else's to read."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from joserfc.jwk import OKPKey, RSAKey

from ledger.errors import BadConfiguration
from producers.keys import local_operator, new_key, read_key


def pem_of(data: Path) -> Path:
    """Return where the key of a data folder lies."""
    return data / "keys" / "operator.pem"


def given_a_key_file(data: Path, content: bytes, mode: int = 0o600) -> Path:
    """Put something in the place of the key."""
    pem = pem_of(data)
    pem.parent.mkdir(mode=0o700)
    pem.write_bytes(content)
    pem.chmod(mode)
    return pem


def test_the_first_use_makes_the_key(tmp_path: Path) -> None:
    """The key lies in a folder of 0700, in a file of 0600, and nothing else lies there."""
    local_operator(tmp_path)

    pem = pem_of(tmp_path)
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    assert stat.S_IMODE(pem.parent.stat().st_mode) == 0o700
    assert list(pem.parent.iterdir()) == [pem]


def test_a_lax_umask_changes_nothing(tmp_path: Path) -> None:
    """The file is private whatever the umask is."""
    before = os.umask(0)
    try:
        local_operator(tmp_path / "new")
    finally:
        os.umask(before)

    assert stat.S_IMODE(pem_of(tmp_path / "new").stat().st_mode) == 0o600
    assert stat.S_IMODE(pem_of(tmp_path / "new").parent.stat().st_mode) == 0o700


def test_a_new_key_is_never_somebody_elses(tmp_path: Path) -> None:
    """Of many who make one in the same file one has it; nobody is given another's under a name of their own."""

    def make(number: int) -> str | None:
        with suppress(BadConfiguration):
            return new_key(tmp_path / "new.pem", f"service:{number}").key_id
        return None

    with ThreadPoolExecutor(8) as several:
        made = [key_id for key_id in several.map(make, range(8)) if key_id is not None]

    assert made == [read_key(tmp_path / "new.pem", "service:x").key_id]
    assert list(tmp_path.iterdir()) == [tmp_path / "new.pem"]


def test_the_second_use_finds_the_same_key(tmp_path: Path) -> None:
    """The key is made once; later calls read it."""
    first = local_operator(tmp_path)

    second = local_operator(tmp_path)

    assert (second.key_id, second.issuer, second.public_key) == (first.key_id, first.issuer, first.public_key)


def test_first_uses_at_once_agree(tmp_path: Path) -> None:
    """Of many first uses at the same time one makes the key and all get it."""
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: local_operator(tmp_path), range(64)))

    assert len({key.public_key for key in keys}) == 1
    assert list(pem_of(tmp_path).parent.iterdir()) == [pem_of(tmp_path)]


def test_the_names_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key id is the thumbprint; the issuer is the user of the process, not of the environment."""
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")

    key = local_operator(tmp_path)

    assert key.key_id == OKPKey.import_key(pem_of(tmp_path).read_bytes()).thumbprint()
    assert key.issuer == f"local:{pem_of(tmp_path).owner()}"
    assert len(key.public_key) == 32


def test_the_secret_does_not_show(tmp_path: Path) -> None:
    """Printing the key, by mistake or in a traceback, shows names only."""
    key = local_operator(tmp_path)

    secret = key.okp.as_dict(private=True)["d"]
    assert str(secret) not in repr(key)
    assert "okp" not in repr(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A key file that anybody else may read, write or run is not used."""
    local_operator(tmp_path)
    pem_of(tmp_path).chmod(mode)

    with pytest.raises(BadConfiguration, match="open to other users"):
        local_operator(tmp_path)


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    """A folder where others may put another key is not used."""
    local_operator(tmp_path)
    pem_of(tmp_path).parent.chmod(0o777)

    with pytest.raises(BadConfiguration, match="open to other users"):
        local_operator(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_key_of_another_user_is_refused(tmp_path: Path) -> None:
    """A key speaks for its owner: another user, even root, does not sign with it."""
    local_operator(tmp_path)
    os.chown(pem_of(tmp_path), 12345, -1)

    with pytest.raises(BadConfiguration, match="belongs to another user"):
        local_operator(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the place of the key is refused, wherever it leads."""
    elsewhere = tmp_path / "elsewhere.pem"
    elsewhere.write_bytes(OKPKey.generate_key("Ed25519").as_pem(private=True))
    elsewhere.chmod(0o600)
    pem_of(tmp_path).parent.mkdir(mode=0o700)
    pem_of(tmp_path).symlink_to(elsewhere)

    with pytest.raises(BadConfiguration, match="cannot be used"):
        local_operator(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """A named pipe in the place of the key is refused at once."""
    pem_of(tmp_path).parent.mkdir(mode=0o700)
    os.mkfifo(pem_of(tmp_path), 0o600)

    with pytest.raises(BadConfiguration, match="neither"):
        local_operator(tmp_path)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    """A data folder that cannot hold keys is an error of the configuration."""
    (tmp_path / "keys").write_text("")

    with pytest.raises(BadConfiguration, match="cannot be used"):
        local_operator(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"canary-7f3d9a",
        b"-----BEGIN PRIVATE KEY-----\ncanary-7f3d9a\n-----END PRIVATE KEY-----\n",
        OKPKey.generate_key("Ed25519").as_pem(private=False),
        OKPKey.generate_key("Ed25519").as_pem(private=True)[:-40],
        OKPKey.generate_key("Ed25519").as_pem(private=True, password="secret"),
        OKPKey.generate_key("Ed448").as_pem(private=True),
        RSAKey.generate_key(2048).as_pem(private=True),
    ],
    ids=["nothing", "text", "framed text", "public", "cut", "encrypted", "ed448", "rsa"],
)
def test_anything_but_a_private_ed25519_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that holds something else is refused, not overwritten, and not repeated."""
    pem = given_a_key_file(tmp_path, content)

    with pytest.raises(BadConfiguration, match="holds no private Ed25519 key") as refused:
        local_operator(tmp_path)

    assert pem.read_bytes() == content
    assert "canary" not in str(refused.value)

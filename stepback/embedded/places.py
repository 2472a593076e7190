"""Where embedded servers may live: sockets whose path is short enough, folders that their account may enter."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ledger.errors import BadConfiguration

#: Longest path of a Unix socket in bytes: 107 on Linux, 103 on macOS.
MAX_SOCKET_BYTES = 103

_log = logging.getLogger(__name__)


def socket_folder(home: Path, socket: str, *, owner: int) -> Path:
    """Return the folder for a server's socket: its home, or a private short one if its path will not do.

    Args:
        home: The server's own folder.
        socket: The socket's file name.
        owner: The user id of the server's process.

    Raises:
        BadConfiguration: The short folder is there and somebody else's.
    """
    # libpq takes a comma for the end of a host.
    if len(os.fsencode(home / socket)) <= MAX_SOCKET_BYTES and "," not in str(home):
        return home
    # Named after the home, so that every process finds the same one.
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"stepback-{digest}"
    if len(os.fsencode(folder / socket)) > MAX_SOCKET_BYTES:
        folder = Path("/tmp") / folder.name  # noqa: S108 - made private and checked below
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, owner, -1)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise BadConfiguration(f"{folder} is not a private folder of user id {owner}; remove it or shorten {home}")
    return folder


def remove_socket_folder(folder: Path, home: Path) -> None:
    """Remove a short socket folder again."""
    if folder != home:
        with suppress(OSError):
            for left in folder.iterdir():
                left.unlink()
            folder.rmdir()


def account(home: Path) -> pwd.struct_passwd:
    """Return the account that runs PostgreSQL, which refuses to run as root: for root the home's owner, else `nobody`.

    Raises:
        BadConfiguration: The user has no name on this machine, as in a container; PostgreSQL refuses that too.
    """
    user_id = os.geteuid()
    if user_id == 0 and home.exists():
        user_id = home.stat().st_uid
    try:
        return pwd.getpwuid(user_id) if user_id else pwd.getpwnam("nobody")
    except KeyError as error:
        raise BadConfiguration(
            f"user id {user_id} has no name on this machine, and PostgreSQL needs one; add it to /etc/passwd"
        ) from error


def open_way(folder: Path) -> None:
    """Let other accounts pass through the folders above this one, without letting them read there."""
    for above in folder.parents:
        mode = above.stat().st_mode
        if not mode & stat.S_IXOTH:
            _log.warning("%s: search permission given to others, for a server that may not run as root", above)
            # Where it cannot be given, the server's own complaint tells more.
            with suppress(OSError):
                above.chmod(mode | stat.S_IXOTH)


def open_tree(folder: Path) -> None:
    """Let other accounts read and run what is installed in a folder; a strict umask may have forbidden it."""
    open_way(folder)
    for path in [folder, *folder.rglob("*")]:
        mode = path.stat().st_mode
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if wanted != mode:
            with suppress(OSError):
                path.chmod(wanted)

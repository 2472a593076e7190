"""Server-sent events, as far as Stepback uses them.

Source: HTML, section 9.2, "Server-sent events".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def read(chunks: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Give id and data of each event; comments, and what was cut off before its end, are left out.

    Args:
        chunks: The stream in UTF-8, cut anywhere.
    """
    # As the standard has it, an id holds until another one comes.
    last_id = ""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield last_id, "\n".join(data)
            data = []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            last_id = value
        elif name == "data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    # By bytes, not by str.splitlines: that takes characters which JSON may hold for line ends.
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")

"""`init`: both sides of an installation."""

from __future__ import annotations

import click

from stepback.cli import exits
from stepback.cli.options import installation, json_option
from stepback.cli.telling import tell_error
from stepback.installing import Installed, install_all
from stepback.show import documents
from stepback.show.console import out, plain


@click.command()
@json_option
def init(*, as_json: bool) -> int:
    """Bring the ledger's and every target's schema up to date. Twice is harmless."""
    code = exits.OK
    done: list[Installed] = []
    with installation() as here:
        for each in install_all(here):
            done.append(each)
            code = code or (each.error.exit_code if each.error else exits.OK)
            if not as_json:
                _tell(each)
    if as_json:
        documents.put_out([_document(each) for each in done])
    return code


def _tell(each: Installed) -> None:
    out().print(plain(f"{each.what} {each.name}: {'not installed' if each.error else 'up to date'}"), soft_wrap=True)
    if each.error:
        tell_error(each.error, as_json=False)


def _document(each: Installed) -> documents.Document:
    error = documents.of_error(each.error)["error"] if each.error else None
    return {"what": each.what, "name": each.name, "error": error}

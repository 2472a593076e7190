"""`register`: plans into the registry."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from stepback.cli.options import installation, json_option, target_option
from stepback.registration import register as write
from stepback.show import documents
from stepback.show.console import err, out, plain


@click.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@target_option
@json_option
def register(*, paths: tuple[Path, ...], target: str, as_json: bool) -> None:
    """Validate plans and put them in the registry of a target, all or none.

    PATH is the folder of a plan, or a folder of such folders.
    """
    with installation() as here:
        registered = write(here, target, paths)
    for each in registered:
        if each.warning is not None:
            err().print(plain(f"{each.migration}: {each.warning}", "yellow"), soft_wrap=True)
        if not as_json:
            out().print(plain(f"{each.migration}: {each.outcome}"), soft_wrap=True)
    if as_json:
        documents.put_out([asdict(each) for each in registered])

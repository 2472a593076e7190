"""How errors are told: a red word and a sentence for people, one document for scripts."""

from __future__ import annotations

from rich.text import Text

from ledger.errors import StepbackError
from stepback.show.console import err, plain


def tell_error(error: StepbackError, *, as_json: bool) -> None:
    """Tell one of our errors."""
    if as_json:
        from stepback.show.documents import of_error, put_out  # noqa: PLC0415 - loads half of the house

        put_out(of_error(error))
    else:
        tell_failure(error.code, error.message, as_json=False)
        for note in getattr(error, "__notes__", ()):
            err().print(plain(note), soft_wrap=True)


def tell_failure(code: str, message: str, *, as_json: bool) -> None:
    """Tell that something did not work out.

    Args:
        code: The word for it.
        message: One sentence or two.
        as_json: As a document on standard output instead of a line on standard error.
    """
    if as_json:
        from stepback.show.documents import put_out  # noqa: PLC0415 - as above

        put_out({"error": {"code": code, "message": message}})
    else:
        err().print(Text.assemble((code, "bold red"), ": ", plain(message)), soft_wrap=True)

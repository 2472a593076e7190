"""The last place where an error can be told."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from stepback.cli.entry import tell


def test_surprise_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that nobody expected is a short sentence without its message, which may hold anything; exit code 1."""
    with capture_logs() as logged:
        code = tell(RuntimeError("s3cret"), ["runs"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert [line["event"] for line in logged] == ["command_broke"]
    assert err.startswith("internal_error: Stepback itself broke (RuntimeError)")
    assert "s3cret" not in err
    assert "Traceback" not in err


def test_surprise_as_document(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """With --json it is an error document."""
    with capture_logs():
        code = tell(RuntimeError("s3cret"), ["runs", "--json"])

    assert code == 1
    assert json.loads(capfdbinary.readouterr().out)["error"]["code"] == "internal_error"

"""The command line: the console script `stepback`."""

from stepback.cli.entry import main

__all__ = ["main"]

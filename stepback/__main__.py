"""`python -m stepback`: the same as the command `stepback`."""

from stepback.cli import main

main()

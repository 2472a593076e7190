"""Checks: what a validation asks of a target, in files of one query each."""

"""The SQL of the house, as package data: ledger, target, plans, checks, sample."""

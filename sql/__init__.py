"""The SQL of the house, as package data: ledger, target, plans, sample."""

"""What watches Stepback from outside: rules, routes, dashboards and the runbook; package data, no code."""

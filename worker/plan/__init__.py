"""From the text of a plan to a list of exact statements: found, parsed, its impact known, compiled."""

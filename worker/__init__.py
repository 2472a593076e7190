"""Commands are carried out, step by step, against a target."""

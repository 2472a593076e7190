"""Made-up schemas and made-up scripts: either all of it comes back exactly, or it is refused and nothing changed."""

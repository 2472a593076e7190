"""What is shown: one JSON document for scripts, tables and progress for people."""

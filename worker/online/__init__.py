"""Columns of large tables are copied before apply, while others write, and proved complete under its locks."""

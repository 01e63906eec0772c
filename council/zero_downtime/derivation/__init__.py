"""Writes migrations that are safe for a database in use, from changed models."""

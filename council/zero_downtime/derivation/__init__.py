"""Migrations that are safe for a database in use, from models that have changed."""

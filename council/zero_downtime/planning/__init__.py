"""Predicts what migrations will do to a database that is in use."""

"""What migrations will do to a database that is in use, told before they run."""

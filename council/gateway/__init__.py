"""Code about the gateway: its cookie and its schema file."""

"""Code about the gateway: its cookie, its schema file, its statements, and rows like those that it writes."""

#!/usr/bin/env python
"""Django's command line for the council."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "council.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # it says what is to be set, and its traceback hides that
        sys.exit(f"ImproperlyConfigured: {error}")

"""The tables of this app. Those of raw answers are in `answers`, which few modules may import."""

from benchmarks import answers, figures  # noqa: F401  # Django looks for an app's models here

"""An attack on the releases that members see. `python -m tests.benchmarks.attack` runs all of it."""

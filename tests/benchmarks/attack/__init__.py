"""An attack on the releases, written against what members may see. `python -m tests.benchmarks.attack` runs all of it."""

"""An attack on the releases, against what members may see. `python -m tests.benchmarks.attack` runs all of it."""

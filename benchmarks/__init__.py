"""What is measured, beside a peer in the same run: `python -m benchmarks [rules|store|screen]`, or `make bench`."""

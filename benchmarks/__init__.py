"""What `make bench` times: ratios against baselines of the same run. See docs/benchmarks.md."""

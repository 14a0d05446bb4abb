"""Code that the benchmarks and tools share."""

"""Where a node's topology comes from: one file for each outside system that is read."""

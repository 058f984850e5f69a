"""The command line: one machine at a time, from a file, without a cluster.

Reads files and writes answers. What the answers are is `gpu_topology`'s business.
"""

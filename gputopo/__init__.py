"""The command line: one machine from a file, a pod that waits, or a whole cluster by simulation.

Reads files and writes answers. What the answers are is `gpu_topology`'s business.
"""

"""The command line: one machine, from a file; a cluster, from its API server or an extender, or by simulation.

Reads and writes answers. What the answers are is the business of `gpu_topology` and, for a cluster, of `extender`.
"""

"""A node's GPUs, their links, and what a set of them is worth.

Pure: nothing in this package reads a file, a socket, a clock or the environment, and nothing happens at import time.
The agent, the extender, the command line and the simulator all call this same code.
"""

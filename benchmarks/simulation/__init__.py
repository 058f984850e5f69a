"""A discrete-event simulation of clusters, in which nothing but the real code of placement and extender decides.

`simulate` plays a list of jobs on a cluster under one policy and returns what every job got. The same seed gives the
same result.
"""

from benchmarks.simulation.cluster import Cluster, Node
from benchmarks.simulation.engine import Outcome, simulate
from benchmarks.simulation.jobs import Job

__all__ = ["Cluster", "Job", "Node", "Outcome", "simulate"]

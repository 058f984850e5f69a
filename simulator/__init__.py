"""A discrete-event simulation of clusters, in which nothing but the real code of placement and extender decides.

`simulate` plays a list of jobs on a cluster under one policy and returns what every job got. The same seed gives the
same result.
"""

from simulator.cluster import Cluster, Node
from simulator.engine import Outcome, simulate
from simulator.jobs import Job

__all__ = ["Cluster", "Job", "Node", "Outcome", "simulate"]

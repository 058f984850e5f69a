"""A container runtime good enough for a real kubelet: containers are ordinary processes of this machine."""

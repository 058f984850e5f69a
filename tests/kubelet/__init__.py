"""Real kubelets on this machine, without images, and NVIDIA's device plugin: see README.md."""

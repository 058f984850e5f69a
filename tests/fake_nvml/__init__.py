"""A libnvidia-ml.so.1 of our own that plays machines from data files, so that NVML is read without a GPU."""

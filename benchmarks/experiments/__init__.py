"""Experiments that others have published, replayed with this project's placement beside the policies they compare."""

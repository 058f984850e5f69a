"""The demonstration, as a user runs it."""

import json
import subprocess
import sys

from benchmarks.demo import SIZES


def test_it_ends_by_itself_and_the_extender_does_better() -> None:
    """Real HTTP included; the figures are the last line."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "demo", "--json"], capture_output=True, text=True, check=True, timeout=120
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert 0 < figures["pods_compared"] <= sum(size > 1 for size in SIZES)
    assert figures["mean_gbps"] > figures["mean_gbps_default"]
    assert all(f"job-{number:02d}" in done.stderr for number in range(len(SIZES)))

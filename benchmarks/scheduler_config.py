"""The shipped configuration of the dedicated kube-scheduler, as far as simulations need it."""

from pathlib import Path
from typing import Final

import yaml

SCHEDULER_CONFIG: Final = Path(__file__).parent.parent / "config" / "scheduler-config.yaml"


def extender_weight() -> int:
    """The weight that the shipped scheduler configuration gives to the extender."""
    configuration = yaml.safe_load(SCHEDULER_CONFIG.read_text(encoding="utf-8"))
    weight: int = configuration["extenders"][0]["weight"]
    return weight

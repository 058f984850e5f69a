"""What the package's README says about settings and metrics is complete."""

import re
from pathlib import Path

import extender
from extender.ledger import Ledger
from extender.service import Service
from extender.settings import Settings

README = (Path(extender.__file__).parent / "README.md").read_text()


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    for name in Settings.model_fields:
        assert f"`--{name.replace('_', '-')}`" in README
    for default in (Settings().max_candidates, Settings().max_request_mib, Settings().verbs_port):
        assert str(default) in README


def test_every_metric_is_in_the_readme() -> None:
    exposition = Service(Ledger()).metrics.exposition().decode()
    exposed = re.findall(r"^# TYPE (\w+) ", exposition, re.MULTILINE)
    documented = set(re.findall(r"`(gpu_scheduler_\w+)`", README))
    assert {name for name in exposed if not name.endswith("_created")} <= documented

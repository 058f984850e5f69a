"""What the package's README says about settings is complete."""

from pathlib import Path

import extender
from extender.settings import Settings

README = (Path(extender.__file__).parent / "README.md").read_text()


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    for name in Settings.model_fields:
        assert f"`--{name.replace('_', '-')}`" in README
    for default in (Settings().max_candidates, Settings().max_request_mib, Settings().verbs_port):
        assert str(default) in README

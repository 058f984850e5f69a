"""What the page about versions says of older scheduler configurations, as every tested kube-scheduler sees it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.control_plane.binaries import FOLDERS, NEWEST, binary
from tests.manifests.files import REPOSITORY, fenced_blocks

PAGE = REPOSITORY / "docs" / "versions.md"


@pytest.mark.parametrize("minor", FOLDERS)
def test_a_kube_scheduler_ends_at_an_older_configuration_with_what_the_page_shows(
    request: pytest.FixtureRequest, tmp_path: Path, minor: str
) -> None:
    request.getfixturevalue("control_plane_programs" if minor == NEWEST else "older_kubernetes_programs")
    [shown] = fenced_blocks(PAGE, "text")
    [version] = re.findall(r'version "(kubescheduler[^"]+)"', shown)
    configuration = tmp_path / "config.yaml"
    configuration.write_text(f"apiVersion: {version}\nkind: KubeSchedulerConfiguration\n")
    done = subprocess.run(
        [binary("kube-scheduler", minor), "--config", configuration],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode != 0
    assert shown.strip() in done.stderr.replace('\\"', '"')

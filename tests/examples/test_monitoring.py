"""Prometheus: scrape configuration and alert rules, checked by promtool. (tests/e2e tests the dashboard on a live
scrape.)"""

import subprocess

import install
import pytest
from files import EXAMPLES

FOLDER = EXAMPLES / "monitoring"


@pytest.mark.parametrize(
    "command",
    [["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]],
    ids=" ".join,
)
def test_promtool(command):
    promtool = install.tool("promtool")
    if promtool is None:
        pytest.skip("promtool is not to be had (Debian: prometheus)")
    done = subprocess.run([str(promtool), *command], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

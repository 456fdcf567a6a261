"""The systemd unit, checked by systemd. (tests/e2e tests the proxy in front of a running server.)"""

import pathlib
import shutil
import subprocess

import pytest
from files import EXAMPLES


def test_systemd_unit(binary, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = (EXAMPLES / "systemd" / "milvus-cdc.service").read_text()
    assert "ExecStart=/usr/local/bin/milvus-cdc --config /etc/milvus-cdc/cdc.yaml" in unit
    copy = tmp_path / "milvus-cdc.service"
    # A machine that builds the program has neither the installed binary nor the user.
    copy.write_text(
        unit.replace("/usr/local/bin/milvus-cdc", str(binary)).replace("User=milvus-cdc\n", "User=daemon\n")
    )
    assert complaints(copy) == []
    copy.write_text(copy.read_text() + "NoSuchSetting=yes\n")
    assert any("NoSuchSetting" in complaint for complaint in complaints(copy)), "it does judge"


def complaints(unit: pathlib.Path) -> list[str]:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if unit.name in line]

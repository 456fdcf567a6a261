"""The systemd unit and the proxy's configuration, judged by their own programs."""

import shutil
import subprocess

import certificates
import install
import pytest
from files import EXAMPLES


def test_systemd_unit(binary, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = (EXAMPLES / "systemd" / "milvus-cdc.service").read_text()
    assert "ExecStart=/usr/local/bin/milvus-cdc --config /etc/milvus-cdc/cdc.yaml" in unit
    copy = tmp_path / "milvus-cdc.service"
    # The program is not installed there on a machine that builds it, nor is there the user.
    copy.write_text(unit.replace("/usr/local/bin/milvus-cdc", str(binary)).replace("User=milvus-cdc\n", "User=daemon\n"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if copy.name in line]
    assert not complaints, done.stderr


def test_proxy(tmp_path):
    nginx = install.tool("nginx")
    if nginx is None:
        pytest.skip("nginx is not to be had (Debian: nginx)")
    folder = tmp_path / "certificates"
    certificates.make(folder)
    text = (EXAMPLES / "nginx" / "milvus-cdc.conf").read_text()
    text = text.replace("/etc/nginx/milvus-cdc.pem", str(folder / "server.pem")).replace("/etc/nginx/milvus-cdc.key", str(folder / "server.key"))
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/nginx.pid; error_log stderr; events {{}}\nhttp {{\n access_log off;\n{text}\n}}\n")
    done = subprocess.run([str(nginx), "-t", "-p", str(tmp_path), "-c", str(whole)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""TLS for the API by the proxy of examples/nginx, in front of a running server."""

import http.client
import json
import os
import re
import socket
import ssl
import subprocess

import pytest

import certificates
import install
import ports
import processes
from support.waiting import wait_until

TOKEN = "t0ken-of-the-proxy"
NAME = "cdc.example.com"


class Proxy:
    """nginx with the example's server block; only the certificate, the ports and the folders are the test's."""

    def __init__(self, program, folder, cdc):
        self.certificates = folder / "certificates"
        certificates.make(self.certificates)
        self.port = ports.free_ports(1)[0]
        text = (install.REPOSITORY / "examples" / "nginx" / "milvus-cdc.conf").read_text()
        for example, ours in (
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            ("http://127.0.0.1:8444;", f"http://127.0.0.1:{cdc.port};"),
            ("/etc/nginx/milvus-cdc.pem", str(self.certificates / "server.pem")),
            ("/etc/nginx/milvus-cdc.key", str(self.certificates / "server.key")),
        ):
            assert example in text
            text = text.replace(example, ours)
        folders = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        whole = f"pid {folder}/nginx.pid; daemon off; master_process off; error_log stderr; events {{}}\n"
        (folder / "nginx.conf").write_text(f"{whole}http {{\naccess_log off;\n{folders}{text}\n}}\n")
        command = [str(program), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        self._process = processes.spawn(command, log=folder / "nginx.log", outlive=False)
        wait_until(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None, 10, "nginx")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, method: str, path: str, body: str | None = None, **headers) -> tuple[int, str]:
        context = ssl.create_default_context(cafile=self.certificates / "ca.pem")
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        connection = http.client.HTTPSConnection(NAME, self.port, context=context)
        connection.sock = context.wrap_socket(raw, server_hostname=certificates.SERVER_NAME)
        try:
            connection.request(
                method, path, body, {"Host": NAME, **{key.title(): value for key, value in headers.items()}}
            )
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def proxy(make_cdc, source, tmp_path):
    program = install.tool("nginx")
    if program is None:
        pytest.skip("nginx is not to be had (Debian: nginx)")
    example = (install.REPOSITORY / "examples" / "nginx" / "milvus-cdc.conf").read_text()
    assert re.search(r"allowedHosts: \[cdc\.example\.com\]", example), "the example says what the configuration needs"
    cdc = make_cdc(source, api={"token": TOKEN, "allowedHosts": [NAME]})
    cdc.launch()
    wait_until(lambda: "ok" in cdc.get_text("/healthz"), 20, "the server")
    folder = tmp_path / "nginx"
    folder.mkdir()
    one = Proxy(program, folder, cdc)
    yield one
    one.close()


def test_api_through_the_proxy(proxy):
    body = json.dumps({"request_type": "list"})
    login = f"Bearer {TOKEN}"
    assert proxy.ask("POST", "/cdc", body, authorization=login) == (200, '{"code":200,"data":{"tasks":[]}}\n')
    # A browser's request from the page itself: Origin and Host are the proxy's name.
    assert proxy.ask("POST", "/cdc", body, authorization=login, origin=f"https://{NAME}")[0] == 200
    assert proxy.ask("POST", "/cdc", body)[0] == 401
    assert proxy.ask("POST", "/cdc", body, authorization=login, origin="https://evil.example")[0] == 403
    assert proxy.ask("POST", "/cdc", body, authorization=login, host="evil.example")[0] == 403
    status, page = proxy.ask("GET", "/webui")
    assert status == 200 and "<title>milvus-cdc</title>" in page
    large = json.dumps({"request_type": "list", "request_data": {"x": "y" * 1_000_000}})
    assert proxy.ask("POST", "/cdc", large, authorization=login)[0] == 200


def test_command_line_through_the_proxy(proxy, binary):
    """The certificate is for `localhost`, by an authority that only SSL_CERT_FILE names."""
    url = f"https://{certificates.SERVER_NAME}:{proxy.port}"
    trusting = {"SSL_CERT_FILE": str(proxy.certificates / "ca.pem")}

    def listed(**variables) -> tuple[int, str, str]:
        command = [str(binary), "task", "list", "--server", url]
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert listed(MILVUS_CDC_API_TOKEN=TOKEN, **trusting) == (0, "no tasks\n", "")
    assert listed(MILVUS_CDC_API_TOKEN="another", **trusting) == (1, "", "milvus-cdc: the token is wrong\n")
    code, _, error = listed(MILVUS_CDC_API_TOKEN=TOKEN)
    assert code == 1 and "certificate is refused" in error and "SSL_CERT_FILE" in error and TOKEN not in error

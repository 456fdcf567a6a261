"""A real Pulsar (broker, bookie and metadata in one process) in a folder of its own.

It listens on 127.0.0.1 only: in plain text and with TLS, and for administration over HTTP and HTTPS. With
`token=True` it requires a token from every client.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import urllib.error
import urllib.request

import pulsar_install
from java_broker import JavaBroker

OPENED = [
    *(
        f"java.base/{package}"
        for package in ("jdk.internal.loader", "java.nio", "jdk.internal.misc", "sun.net", "java.io")
    ),
    "java.management/sun.management",
    "jdk.management/com.sun.management.internal",
]
OFF = [
    "webSocketServiceEnabled",
    "functionsWorkerEnabled",
    "loadBalancerEnabled",
    "systemTopicEnabled",
    "topicLevelPoliciesEnabled",
]
SECRET = b"the key that signs the tokens of these tests"
FORGET_BOOKIE = pathlib.Path(__file__).with_name("ForgetBookie.java")
TENANT, NAMESPACE = "public", "default"
# Milvus and broker have the same limit by default, and parts of a split insert slightly exceed that of Milvus.
MILVUS_LARGEST_MESSAGE = 4 * 1024 * 1024


def token(subject: str = "admin") -> str:
    """A token that the broker accepts."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"{part(json.dumps({'alg': 'HS256'}).encode())}.{part(json.dumps({'sub': subject}).encode())}"
    return f"{signed}.{part(hmac.new(SECRET, signed.encode(), hashlib.sha256).digest())}"


class PulsarBroker(JavaBroker):
    """One broker. With `token` (kept in its settings) it requires one."""

    NAME = "pulsar"
    LISTENERS = ["plain", "tls", "web", "web_tls"]
    DATA = ["metadata", "bookkeeper"]
    JAVA_OPTIONS = [
        "-Xmx512m",
        "-XX:MaxDirectMemorySize=512m",
        "-Dio.netty.tryReflectionSetAccessible=true",
        *(word for package in OPENED for word in ("--add-opens", f"{package}=ALL-UNNAMED")),
    ]

    def __init__(self, folder, *, settings=None, token=False, outlive=False):
        super().__init__(folder, settings={**(settings or {}), **(_login() if token else {})}, outlive=outlive)

    @property
    def wants_token(self) -> bool:
        return self._state.settings.get("authenticationEnabled") == "true"

    def milvus_settings(self) -> dict:
        host, port = self.address().split(":")
        settings = {
            "mq.type": "pulsar",
            "pulsar.address": host,
            "pulsar.port": int(port),
            "pulsar.webport": int(self.address("web").split(":")[1]),
            "pulsar.maxMessageSize": MILVUS_LARGEST_MESSAGE,
        }
        if self.wants_token:
            settings.update({"pulsar.authPlugin": "token", "pulsar.authParams": f"token:{token()}"})
        return settings

    def describe(self) -> dict:
        return {**super().describe(), **({"token": token()} if self.wants_token else {})}

    def admin(self, method: str, path: str, body=None):
        """Sends a request to the admin API; returns its answer, if any."""
        request = urllib.request.Request(f"http://{self.address('web')}/admin/v2/{path}", method=method)
        request.add_header("Content-Type", "application/json")
        if self.wants_token:
            request.add_header("Authorization", f"Bearer {token()}")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _jars(self) -> pathlib.Path:
        return pulsar_install.jars()

    def _answers(self) -> bool:
        try:
            return f"{TENANT}/{NAMESPACE}" in self.admin("GET", f"namespaces/{TENANT}") and self._is_healthy()
        except (OSError, ValueError):
            return False

    def _is_healthy(self) -> bool:
        self.admin_text("brokers/health")
        return True

    def admin_text(self, path: str) -> str:
        """A GET whose answer is not JSON."""
        request = urllib.request.Request(f"http://{self.address('web')}/admin/v2/{path}")
        if self.wants_token:
            request.add_header("Authorization", f"Bearer {token()}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def _prepare(self) -> list[str]:
        config, metadata = self.folder / "standalone.conf", self.folder / "metadata"
        if metadata.exists():
            self._run(str(FORGET_BOOKIE), str(metadata))
        numbers, folder = self._state.ports, self.certificates
        self._write_properties(
            config,
            {
                "clusterName": "standalone",
                "brokerServicePort": numbers["plain"],
                "brokerServicePortTls": numbers["tls"],
                "webServicePort": numbers["web"],
                "webServicePortTls": numbers["web_tls"],
                "bindAddress": "127.0.0.1",
                "advertisedAddress": "127.0.0.1",
                "listeningInterface": "lo",
                "allowLoopback": "true",
                "tlsCertificateFilePath": folder / "server.pem",
                "tlsKeyFilePath": folder / "server.key",
                "tlsTrustCertsFilePath": folder / "ca.pem",
                "managedLedgerDefaultEnsembleSize": 1,
                "managedLedgerDefaultWriteQuorum": 1,
                "managedLedgerDefaultAckQuorum": 1,
                "ledgerStorageClass": "org.apache.bookkeeper.bookie.storage.ldb.DbLedgerStorage",
                # A bookie takes nothing any more on a disk that is 95 % full, however much is free on it.
                "diskUsageThreshold": 0.999,
                "diskUsageWarnThreshold": 0.998,
                "diskUsageLwmThreshold": 0.997,
                **{key: "false" for key in OFF},
            },
        )
        arguments = ["-c", str(config), "-nfw", "-nss", "-a", "127.0.0.1"]
        arguments += ["--metadata-dir", str(metadata), "--bookkeeper-dir", str(self.folder / "bookkeeper")]
        return ["org.apache.pulsar.PulsarStandaloneStarter", *arguments]


def _login() -> dict:
    plugin = "org.apache.pulsar.client.impl.auth.AuthenticationToken"
    return {
        "authenticationEnabled": "true",
        "authenticationProviders": "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
        "tokenSecretKey": f"data:;base64,{base64.b64encode(SECRET).decode()}",
        "brokerClientAuthenticationPlugin": plugin,
        "brokerClientAuthenticationParameters": f"token:{token()}",
        "superUserRoles": "admin",
    }

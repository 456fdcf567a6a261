"""Throw-away certificates for TLS tests: one authority, one server, one client."""

import pathlib
import subprocess

SERVER_NAME = "localhost"


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _issue(folder: pathlib.Path, name: str) -> None:
    key, request, pem = (str(folder / f"{name}.{end}") for end in ("key", "csr", "pem"))
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName=DNS:{SERVER_NAME},IP:127.0.0.1\n")
    _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    authority = ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"), "-CAcreateserial"]
    _openssl("x509", "-req", "-in", request, *authority, "-days", "30", "-extfile", str(extensions), "-out", pem)


def make(folder: pathlib.Path) -> pathlib.Path:
    """Creates ca.pem, server.pem, server.key, client.pem and client.key in `folder`, unless they exist."""
    if not (folder / "client.pem").exists():
        folder.mkdir(parents=True, exist_ok=True)
        ca = [
            "-keyout",
            str(folder / "ca.key"),
            "-out",
            str(folder / "ca.pem"),
            "-subj",
            "/CN=milvus-cdc test authority",
        ]
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", *ca)
        _issue(folder, "server")
        _issue(folder, "client")
    return folder

"""Downloads jars from Maven."""

import pathlib
import shutil
import subprocess
import sys

import cache
import install
from report import UserError, say


def jars(name: str, version: str, pom: str, proof: str) -> pathlib.Path:
    """The cache folder with the dependencies of `pom`; one of them must match the pattern `proof`."""
    install.java_packages()
    folder = cache.root() / f"{name.lower()}-{version}"
    return cache.install_once(folder, lambda place: _fill(place, f"{name} {version}", pom, proof)) / "jars"


def _fill(folder: pathlib.Path, name: str, pom: str, proof: str) -> None:
    say(f"downloading {name}")
    (folder / "pom.xml").write_text(pom)
    command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies"]
    command.append(f"-DoutputDirectory={folder / 'jars'}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0 or not list((folder / "jars").glob(proof)):
        raise UserError(f"Maven could not download {name}; its own words are above")


def java() -> str:
    """The installed Java."""
    found = shutil.which("java")
    if not found:
        raise UserError("java is missing: install a Java 17 runtime (Debian: default-jre-headless)")
    return found

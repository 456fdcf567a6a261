"""Gets Kafka: the broker's jars out of Maven, into the cache folder."""

import functools
import pathlib
import shutil
import subprocess
import sys

import cache
import install
from report import UserError, say

KAFKA_VERSION = "3.9.1"
# The logging that the broker brings is an interface only; this is its smallest implementation.
SLF4J_VERSION = "1.7.36"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>milvus-cdc</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>{SLF4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def _fill(folder: pathlib.Path) -> None:
    say(f"downloading Kafka {KAFKA_VERSION}")
    (folder / "pom.xml").write_text(POM)
    command = ["mvn", "-q", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies"]
    command.append(f"-DoutputDirectory={folder / 'jars'}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0 or not list((folder / "jars").glob("kafka_2.13-*.jar")):
        raise UserError("Maven could not download Kafka; its own words are above")


@functools.lru_cache(maxsize=None)
def jars() -> pathlib.Path:
    """The folder of the broker's jars."""
    install.java_packages()
    return cache.install_once(cache.root() / f"kafka-{KAFKA_VERSION}", _fill) / "jars"


def java() -> str:
    """The Java that runs it."""
    found = shutil.which("java")
    if not found:
        raise UserError("java is missing: install a Java 17 runtime (Debian: default-jre-headless)")
    return found

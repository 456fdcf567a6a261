"""Downloads the jars of a Pulsar broker from Maven into the cache folder."""

import functools
import pathlib

import maven

PULSAR_VERSION = "3.0.7"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>milvus-cdc</groupId><artifactId>pulsar</artifactId><version>1</version><packaging>pom</packaging>
  <!-- Its parent names the versions of all; without them Maven looks for a set that fits for ever. -->
  <dependencyManagement><dependencies>
    <dependency>
      <groupId>org.apache.pulsar</groupId><artifactId>pulsar</artifactId><version>{PULSAR_VERSION}</version>
      <type>pom</type><scope>import</scope>
    </dependency>
  </dependencies></dependencyManagement>
  <dependencies>
    <dependency>
      <groupId>org.apache.pulsar</groupId><artifactId>pulsar-broker</artifactId><version>{PULSAR_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


@functools.lru_cache(maxsize=None)
def jars() -> pathlib.Path:
    """The folder of the broker's jars."""
    return maven.jars("Pulsar", PULSAR_VERSION, POM, "pulsar-broker-*.jar")

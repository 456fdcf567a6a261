"""Downloads the jars of a Kafka broker from Maven into the cache folder."""

import functools
import pathlib

import maven

KAFKA_VERSION = "3.9.1"
# The broker brings only the interface of its logging; this is the smallest implementation.
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


@functools.lru_cache(maxsize=None)
def jars() -> pathlib.Path:
    """The folder of the broker's jars."""
    return maven.jars("Kafka", KAFKA_VERSION, POM, "kafka_2.13-*.jar")

"""A bill of materials (CycloneDX 1.5) of what is linked into the binary, from cargo's own resolution.

cargo-cyclonedx 0.5.9 does not take its place: it lists either no build dependencies at all, and so leaves out OpenSSL
(`openssl-src` is one), or all of them, 28 crates of which nothing is linked; it knows neither the binary's checksum nor
what C and C++ a crate brings along; and compiling it takes 100 s on two cores, on every machine that makes a release.
"""

import json
import pathlib
import subprocess

import install

# C and C++ libraries that crates bundle and compile; the crate version contains theirs.
BUNDLED = {
    "grpcio-sys": "gRPC core with Abseil, c-ares, RE2, upb, zlib and Address Sorting",
    "openssl-src": "OpenSSL",
    "librocksdb-sys": "RocksDB",
    "rdkafka-sys": "librdkafka",
    "libz-sys": "zlib",
    "zstd-sys": "Zstandard",
}


def _metadata(features: list[str], target: str) -> dict:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target, *features]
    return json.loads(subprocess.run(command, cwd=install.REPOSITORY, check=True, capture_output=True).stdout)


def _linked(metadata: dict) -> list[str]:
    """Ids of all packages that the binary depends on. Crates that bundle C code may be build dependencies; their own
    dependencies are not linked."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    root = metadata["resolve"]["root"]
    found, bundled, waiting = set(), set(), [root]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if None in kinds and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
            elif names[dependency["pkg"]] in BUNDLED:
                bundled.add(dependency["pkg"])
    return sorted(found | bundled)


def _component(package: dict, checksum: str | None) -> dict:
    name, version = package["name"], package["version"]
    component = {
        "type": "library",
        "bom-ref": package["id"],
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
    }
    if package["license"]:
        component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if name in BUNDLED:
        component["description"] = f"contains {BUNDLED[name]}"
    return component


def _checksums() -> dict[tuple[str, str], str]:
    """Checksums of Cargo.lock by name and version."""
    found, name, version = {}, "", ""
    for line in (install.REPOSITORY / "Cargo.lock").read_text().splitlines():
        key, _, value = line.partition(" = ")
        value = value.strip('"')
        if key == "name":
            name = value
        elif key == "version":
            version = value
        elif key == "checksum":
            found[name, version] = value
    return found


def write(path: pathlib.Path, features: list[str], target: str, sha256: str) -> int:
    """Writes the file; `sha256` is the checksum of the binary. Returns the number of components."""
    metadata = _metadata(features, target)
    packages = {package["id"]: package for package in metadata["packages"]}
    root = packages[metadata["resolve"]["root"]]
    checksums = _checksums()
    linked = [packages[key] for key in _linked(metadata)]
    components = [_component(package, checksums.get((package["name"], package["version"]))) for package in linked]
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    there = {package["id"] for package in linked} | {root["id"]}
    depends = [
        {"ref": key, "dependsOn": sorted(each["pkg"] for each in nodes[key]["deps"] if each["pkg"] in there)}
        for key in sorted(there)
    ]
    subject = {
        "type": "application",
        "bom-ref": root["id"],
        "name": root["name"],
        "version": root["version"],
        "licenses": [{"expression": root["license"]}],
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
        "dependencies": depends,
    }
    path.write_text(json.dumps(bom, indent=1) + "\n")
    return len(components)

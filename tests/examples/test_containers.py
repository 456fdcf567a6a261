"""Dockerfile, Compose and Kubernetes manifests, checked as text and against the binary, without a container engine.

Checked are the relevant rules of hadolint, that the YAML parses, and that users, paths, ports and commands are
consistent with each other and with the binary. Not proved: that the images build and a cluster accepts the objects.
"""

import json
import re
import subprocess

import pytest
from files import EXAMPLES, REPOSITORY, compose, documents, dockerfile, kubernetes, of, words

PORT = 8444


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.y*ml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_yaml_can_be_read(path):
    assert documents(path)


def effective(binary, folder, text: str) -> dict[str, str]:
    """The settings that the binary would use, with a token in the environment as in the examples."""
    config = folder / "cdc.yaml"
    config.write_text(text)
    command = [str(binary), "config", "show", "--json", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, env={"MILVUS_CDC_API_TOKEN": "t0ken"})
    assert done.returncode == 0, done.stderr
    return {setting["key"]: setting["value"] for setting in json.loads(done.stdout)}


# --- the image ---


def test_image_follows_the_rules():
    instructions = dockerfile()
    stages = [words(rest) for rest in of(instructions, "FROM")]
    for image, *rest in stages:
        assert re.fullmatch(r"[a-z0-9./-]+:[a-z0-9.-]*[0-9a-z.-]+", image) and not image.endswith(
            ":latest"
        ), f"{image} needs a tag"
        assert not rest or rest[0] == "AS"
    names = {stage[2] for stage in stages if len(stage) == 3}
    assert not of(instructions, "ADD"), "COPY says what it does"
    for rest in of(instructions, "COPY"):
        sources = [word for word in words(rest)[:-1]]
        if sources[0].startswith("--from="):
            assert sources[0].removeprefix("--from=") in names
            continue
        for source in sources:
            assert (REPOSITORY / source).exists(), f"{source} is copied and not there"
            assert (
                f"!{source}" in (REPOSITORY / ".dockerignore").read_text().split()
            ), f".dockerignore keeps {source} away"
    for rest in of(instructions, "RUN"):
        assert "sudo" not in rest and "apt-get upgrade" not in rest and "curl" not in rest
        if "apt-get install" in rest:
            assert "--no-install-recommends" in rest and "--yes" in rest
            assert (
                rest.index("apt-get update") < rest.index("apt-get install") < rest.index("rm -rf /var/lib/apt/lists/*")
            )
    for rest in of(instructions, "WORKDIR"):
        assert rest.startswith("/")
    for word in ("CMD", "ENTRYPOINT"):
        assert all(
            isinstance(json.loads(rest), list) for rest in of(instructions, word)
        ), f"{word} without a shell in between"


def test_image_is_built_by_the_projects_own_compiler():
    wanted = next(
        line.split('"')[1]
        for line in (REPOSITORY / "Cargo.toml").read_text().splitlines()
        if line.startswith("rust-version")
    )
    assert words(of(dockerfile(), "FROM")[0])[0].startswith(f"rust:{wanted}-")


def test_image_runs_as_nobody_important():
    instructions = dockerfile()
    last_stage = instructions[max(n for n, (word, _) in enumerate(instructions) if word == "FROM") :]
    user = of(last_stage, "USER")[-1]
    assert user.isdigit() and int(user) > 0, "a number, so that runAsNonRoot can tell"
    assert f"--uid {user}" in of(last_stage, "RUN")[0]
    assert not of(
        last_stage[[word for word, _ in last_stage].index("USER") :], "RUN"
    ), "nothing is installed by that user"


def test_image_knows_its_binary(binary):
    instructions = dockerfile()
    entry, arguments = json.loads(of(instructions, "ENTRYPOINT")[0]), json.loads(of(instructions, "CMD")[0])
    assert entry == ["milvus-cdc"] and "/usr/local/bin/milvus-cdc" in of(instructions, "COPY")[-1]
    health = of(instructions, "HEALTHCHECK")[0]
    probe = json.loads(health[health.index("[") :])
    assert probe[0] == "milvus-cdc"
    for command in ([*probe[1:], "--help"], [*arguments[:1], "/nowhere", "--help"]):
        assert subprocess.run([str(binary), *command], capture_output=True).returncode == 0, command
    assert of(instructions, "EXPOSE") == [str(PORT)]
    default = json.loads(
        subprocess.run([str(binary), "config", "show", "--json"], capture_output=True, text=True, check=True).stdout
    )
    assert {setting["key"]: setting["value"] for setting in default}["address"].endswith(f":{PORT}")


# --- Compose ---


def test_compose_fits_the_image(binary, tmp_path):
    tree, instructions = compose(), dockerfile()
    service = tree["services"]["cdc"]
    settings = effective(binary, tmp_path, tree["configs"]["cdc"]["content"])
    assert settings["address"] == f"0.0.0.0:{PORT}" and settings["api.token"] == "(hidden)"
    mounts = dict(mount.split(":")[:2] for mount in service["volumes"])
    read_only = {mount.split(":")[1] for mount in service["volumes"] if mount.endswith(":ro")}
    assert settings["dataDir"] == of(instructions, "VOLUME")[0] == mounts["cdc-data"]
    assert settings["sourceConfig.rocksmq.path"] == f"{mounts['source-data']}/rdb_data"
    assert mounts["source-data"] in read_only, "nothing is written to the source's files"
    assert json.loads(of(instructions, "CMD")[0])[1] == service["configs"][0]["target"]
    assert settings["sourceConfig.milvus.uri"] == "http://source:19530" and "source" in tree["services"]
    assert "MILVUS_CDC_API_TOKEN" in service["environment"]
    assert (EXAMPLES / service["build"] / "Dockerfile").resolve() == REPOSITORY / "Dockerfile"
    named = {mount.split(":")[0] for each in tree["services"].values() for mount in each["volumes"]}
    assert named == set(tree["volumes"])
    used = {config["source"] for each in tree["services"].values() for config in each["configs"]}
    assert used == set(tree["configs"])


def test_compose_is_reached_from_this_host_only():
    for name, service in compose()["services"].items():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), f"{name} listens for everybody"


# --- Kubernetes ---


def test_kubernetes_fits_the_image(binary, tmp_path):
    objects, instructions = kubernetes(), dockerfile()
    assert set(objects) == {"ConfigMap", "Service", "StatefulSet", "ServiceMonitor"}
    spec = objects["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert spec["replicas"] == 1, "two would write the same rows"
    assert str(pod["securityContext"]["runAsUser"]) == of(instructions, "USER")[0]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["args"] == json.loads(of(instructions, "CMD")[0])
    settings = effective(binary, tmp_path, objects["ConfigMap"]["data"]["cdc.yaml"])
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert settings["dataDir"] == mounts["data"]["mountPath"] == of(instructions, "VOLUME")[0]
    assert settings["sourceConfig.rocksmq.path"].startswith(mounts["source"]["mountPath"] + "/")
    assert mounts["source"]["readOnly"] and mounts["config"]["readOnly"]
    assert mounts["config"]["mountPath"] in container["args"][1]
    claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    assert set(mounts) == claims | {volume["name"] for volume in pod["volumes"]}
    assert settings["address"] == f"0.0.0.0:{PORT}" and container["ports"][0]["containerPort"] == PORT
    assert objects["Service"]["metadata"]["name"] in settings["api.allowedHosts"]


def test_kubernetes_objects_find_each_other():
    objects = kubernetes()
    spec = objects["StatefulSet"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == objects["Service"]["spec"]["selector"] == labels
    assert objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"] == objects["Service"]["metadata"]["labels"]
    assert spec["serviceName"] == objects["Service"]["metadata"]["name"]
    port = objects["Service"]["spec"]["ports"][0]
    container = spec["template"]["spec"]["containers"][0]
    assert port["targetPort"] == container["ports"][0]["name"]
    assert objects["ServiceMonitor"]["spec"]["endpoints"][0]["port"] == port["name"]
    secret = container["env"][0]["valueFrom"]["secretKeyRef"]
    assert objects["ServiceMonitor"]["spec"]["endpoints"][0]["authorization"]["credentials"] == secret


def test_kubernetes_asks_paths_that_exist():
    described = json.loads((REPOSITORY / "src" / "api" / "openapi.json").read_text())["paths"]
    container = kubernetes()["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    asked = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    asked.add(kubernetes()["ServiceMonitor"]["spec"]["endpoints"][0]["path"])
    assert asked <= set(described), "probes have no token"

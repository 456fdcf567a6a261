"""The configuration files of one reference server."""

import json
import pathlib
import re

import ports

# Every component listens on a port, even within one process; concurrent servers need different ones.
COMPONENT_PORTS = {
    "proxy": "proxy.port",
    "proxy_internal": "proxy.internalPort",
    "root_coord": "rootCoord.port",
    "query_coord": "queryCoord.port",
    "query_node": "queryNode.port",
    "index_coord": "indexCoord.port",
    "index_node": "indexNode.port",
    "data_coord": "dataCoord.port",
    "data_node": "dataNode.port",
}
OTHER_PORTS = ["etcd", "etcd_peer", "metrics"]
LOCAL_COMPONENTS = ["rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode"]


def new_ports(proxy: int | None = None) -> dict[str, int]:
    """Free ports for one server; the public one may be given."""
    names = [*COMPONENT_PORTS, *OTHER_PORTS]
    chosen = dict(zip(names, ports.free_ports(len(names))))
    return {**chosen, "proxy": proxy} if proxy else chosen


def parse_value(text: str):
    """The value of `--set key=value`: JSON where it is JSON, else a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def nested(settings: dict) -> dict:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    tree: dict = {}
    for path, value in settings.items():
        *folders, leaf = path.split(".")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    return tree


def _own_settings(data: pathlib.Path, numbers: dict[str, int]) -> dict:
    settings = {path: numbers[name] for name, path in COMPONENT_PORTS.items() if name != "index_coord"}
    settings["indexCoord.address"] = f"127.0.0.1:{numbers['index_coord']}"
    settings.update({f"{component}.ip": "127.0.0.1" for component in LOCAL_COMPONENTS})
    settings.update(
        {
            "etcd.endpoints": f"127.0.0.1:{numbers['etcd']}",
            "etcd.use.embed": True,
            "etcd.data.dir": str(data / "etcd"),
            "etcd.config.path": str(data / "configs" / "etcd.yaml"),
            "etcd.log.level": "warn",
            "localStorage.path": str(storage_path(data)),
            "rocksmq.path": str(rocksmq_path(data)),
            "mq.type": "rocksmq",
            "log.level": "warn",
            "log.file.rootPath": "",
            # A Milvus ends itself when it could not renew its sessions for so long, which is more than a busy machine
            # may cost it. Nobody waits for those of a server that this process has killed: see `MilvusServer`.
            "common.session.ttl": 20,
        }
    )
    return settings


def rocksmq_path(data: pathlib.Path) -> pathlib.Path:
    """Log of a server with this data folder: the `sourceConfig.rocksmq.path` of milvus-cdc."""
    return data / "rdb_data"


def storage_path(data: pathlib.Path) -> pathlib.Path:
    """Flushed segments of a server with this data folder."""
    return data / "storage"


def _defaults(template: str) -> dict:
    """The wheel's template as a flat dict, each `{{ name(type): default }}` replaced by its default.

    Parses only the YAML of this template (maps by indent, one scalar or JSON list per line), so that starting a server
    needs nothing but Python.
    """
    text = re.sub(r"\{\{\s*\w+(?:\(\w+\))?\s*(?::\s*([^}]*?))?\s*\}\}", lambda found: found.group(1) or "", template)
    settings: dict = {}
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = re.match(r"( *)([A-Za-z_]\w*):(?:\s+('[^']*'|[^#]*))?", line)
        if not found:
            continue
        indent, key, value = len(found.group(1)), found.group(2), (found.group(3) or "").strip()
        while parents and parents[-1][0] >= indent:
            parents.pop()
        if value:
            settings[".".join([*(name for _, name in parents), key])] = parse_value(value.strip("'"))
        parents.append((indent, key))
    return settings


def write(data: pathlib.Path, numbers: dict[str, int], settings: dict, unpacked: pathlib.Path) -> pathlib.Path:
    """Writes the configuration folder (`MILVUSCONF`) of one server."""
    folder = data / "configs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "glog.conf").write_text((unpacked / "glog.conf").read_text())
    defaults = _defaults((unpacked / "config.yaml.template").read_text())
    # JSON is YAML: no YAML writer is needed.
    everything = nested({**defaults, **_own_settings(data, numbers), **settings})
    (folder / "milvus.yaml").write_text(json.dumps(everything, indent=1))
    client, peer = (f"http://127.0.0.1:{numbers[name]}" for name in ("etcd", "etcd_peer"))
    # The embedded etcd reads its peer port from a file of its own.
    etcd = {
        "name": "default",
        "data-dir": str(data / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "log-level": "warn",
        "unsafe-no-fsync": True,
    }
    (folder / "etcd.yaml").write_text(json.dumps(etcd, indent=1))
    return folder

"""The examples, parsed."""

import pathlib
import shlex

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"


def documents(path: pathlib.Path) -> list:
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def kubernetes() -> dict[str, dict]:
    """The objects of the manifest, by kind."""
    return {document["kind"]: document for document in documents(EXAMPLES / "kubernetes" / "milvus-cdc.yaml")}


def compose() -> dict:
    return documents(EXAMPLES / "compose.yaml")[0]


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions, with continued lines joined."""
    found, pending = [], ""
    for line in (REPOSITORY / "Dockerfile").read_text().splitlines():
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending += line.strip().removesuffix("\\").strip() + " "
        if not line.rstrip().endswith("\\"):
            word, _, rest = pending.strip().partition(" ")
            found.append((word, rest.strip()))
            pending = ""
    return found


def of(instructions: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for known, rest in instructions if known == word]


def words(text: str) -> list[str]:
    return shlex.split(text)

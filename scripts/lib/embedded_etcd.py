"""The etcd inside a reference Milvus, over the JSON form of its API."""

import json
import urllib.error
import urllib.request


class EmbeddedEtcd:
    """The etcd that listens on this port of 127.0.0.1 while its Milvus runs."""

    def __init__(self, port: int):
        self._url = f"http://127.0.0.1:{port}/v3"

    def leases(self) -> list[str]:
        """Ids of the leases that are held, each by one component of Milvus; none if it does not answer."""
        try:
            return [lease["ID"] for lease in self._ask("lease/leases").get("leases", [])]
        except OSError:
            return []

    def revoke(self, ids: list[str]) -> bool:
        """Ends these leases; answers whether etcd could be asked."""
        try:
            for lease in ids:
                try:
                    self._ask("lease/revoke", ID=lease)
                except urllib.error.HTTPError:
                    pass  # it has expired
            return True
        except OSError:
            return False

    def _ask(self, what: str, **body) -> dict:
        request = urllib.request.Request(f"{self._url}/{what}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=2) as answer:
            return json.loads(answer.read())

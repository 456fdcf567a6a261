"""A pytest plugin: the order in which concurrent workers take the tests (`--dist loadgroup`).

A worker takes one test after another. The slow ones come first: one that is taken last keeps a single worker busy while
the others have nothing left to do. Tests that share servers of their module stay together: each worker that takes one
of them would start those servers.
"""

import pytest

# A fixture that starts servers for a module, and therefore what depends on it.
SERVERS = "more_servers"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        shared = _shared_servers(item)
        if shared:
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}.{shared}"))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def _shared_servers(item) -> str | None:
    """The fixture of the test's module whose servers the test uses."""
    for name, definitions in sorted(item._fixtureinfo.name2fixturedefs.items()):
        fixture = definitions[-1]
        if fixture.scope == "module" and SERVERS in fixture.argnames:
            return name
    return None

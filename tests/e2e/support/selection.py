"""A pytest plugin: skips tests whose needs, named by markers, this run cannot meet.

Which of the remaining tests run is decided by `scripts/test`, with `-m`.
"""

import pymilvus

from .pool import BROKERS

# Milvus Lite needs a newer pymilvus than Milvus 2.3.5 (see `scripts/lib/lite_install.py`), so each environment runs
# its own tests.
IS_LITE = int(pymilvus.__version__.split(".")[1]) > 3


def pytest_addoption(parser):
    kinds = ["rocksmq", *BROKERS]
    parser.addoption("--source-log", choices=kinds, default=kinds[0], help="where the source keeps its log")


def pytest_collection_modifyitems(config, items):
    log = config.getoption("--source-log")
    left_out = [item for item in items if not _can_run(item, log)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _can_run(item, log: str) -> bool:
    markers = {marker.name for marker in item.iter_markers()}
    kinds = markers & BROKERS.keys()
    return (
        ("lite" in markers) == IS_LITE
        and (not kinds or log in kinds)
        and ("broker" not in markers or log in BROKERS)
        and ("identified_log" not in markers or log != "pulsar")
    )

"""Hooks that schemathesis loads beside the API's description (see test_fuzz.py)."""

import schemathesis

# A closed port. A random address might belong to somebody.
NOWHERE = "http://127.0.0.1:2"


@schemathesis.hook
def map_body(context, body):
    """Directs connecting requests to a closed port with a timeout of a second: a random `connect_timeout` may be an
    hour."""
    data = body.get("request_data") if isinstance(body, dict) else None
    target = data.get("milvus_connect_param") if isinstance(data, dict) else None
    if isinstance(target, dict):
        timeout = target.get("connect_timeout", 0)
        # A whole number may also arrive as 3600.0.
        if isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout >= 0:
            target["connect_timeout"] = 1
        if isinstance(target.get("uri"), str) or isinstance(target.get("host"), str):
            target["uri"] = NOWHERE
    return body

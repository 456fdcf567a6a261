"""What schemathesis loads beside the API's description (see test_fuzz.py)."""

import schemathesis

# Closed: nothing listens there. A random address may be somebody's.
NOWHERE = "http://127.0.0.1:2"


@schemathesis.hook
def map_body(context, body):
    """Requests that connect do so to nowhere and give up after a second: a random `connect_timeout` is up to an hour."""
    data = body.get("request_data") if isinstance(body, dict) else None
    target = data.get("milvus_connect_param") if isinstance(data, dict) else None
    if isinstance(target, dict):
        timeout = target.get("connect_timeout", 0)
        # A whole number may come as 3600.0, too.
        if isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout >= 0:
            target["connect_timeout"] = 1
        if isinstance(target.get("uri"), str) or isinstance(target.get("host"), str):
            target["uri"] = NOWHERE
    return body

#!/bin/sh
# Lists all tasks.
set -eu
curl -sS "${MILVUS_CDC_URL:-http://127.0.0.1:8444}/cdc" --data '{"request_type": "list"}'

#!/bin/sh
# Creates a task that replicates every collection of every database.
#
#   examples/create.sh [target uri] [task id]
#
# Put a login at the target into MILVUS_CDC_TARGET_TOKEN (`user:password` or an API key). It reaches curl through a
# pipe, so that the list of processes does not show it.
set -eu
uri=${1:-http://127.0.0.1:19531}
task_id=${2:-}
curl -sS "${MILVUS_CDC_URL:-http://127.0.0.1:8444}/cdc" --data @- <<REQUEST
{
  "request_type": "create",
  "request_data": {
    "task_id": "$task_id",
    "milvus_connect_param": {"uri": "$uri", "token": "${MILVUS_CDC_TARGET_TOKEN:-}", "connect_timeout": 10},
    "collection_infos": [{"name": "*"}]
  }
}
REQUEST

#!/bin/sh
# Stops and deletes a task. The target keeps its data.
#
#   examples/delete.sh <task id>
set -eu
task_id=${1:?usage: $0 <task id>}
curl -sS "${MILVUS_CDC_URL:-http://127.0.0.1:8444}/cdc" \
    --data "{\"request_type\": \"delete\", \"request_data\": {\"task_id\": \"$task_id\"}}"

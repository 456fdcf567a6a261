#!/usr/bin/env python3
"""Writes the rows of a task's refused-rows.jsonl, or of an export of lost writes (milvus-cdc failback --export), into a
Milvus, whatever it has of them.

usage: apply_refused_rows.py FILE URI [TOKEN]
"""

import base64
import json
import sys

from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2, schema_pb2


def key_of(stub, db: str, collection: str):
    """The primary key's field."""
    asked = milvus_pb2.DescribeCollectionRequest(db_name=db, collection_name=collection)
    return next(field for field in stub.DescribeCollection(asked).schema.fields if field.is_primary_key)


def main(path: str, uri: str, token: str = "") -> None:
    latest = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            # A row that was refused again stands in the file twice.
            latest[row["collection_id"], row["key"]] = row
    client = MilvusClient(uri, token=token)
    stub = client._get_connection()._stub
    for row in latest.values():
        db, collection = row["target"].split(".", 1)
        columns = [schema_pb2.FieldData.FromString(base64.b64decode(column)) for column in row["columns"]]
        place = {"db_name": db, "collection_name": collection, "partition_name": row["partition"]}
        key = key_of(stub, db, collection)
        this_row = milvus_pb2.DeleteRequest(expr=f"{key.name} in [{row['key']}]", **place)
        if row.get("write") == "delete":
            answer = stub.Delete(this_row)
        elif key.autoID:
            # An upsert would give the row another key.
            answer = stub.Delete(this_row)
            # Beside an older row that is still there, it would be a second one.
            if not answer.status.reason:
                answer = stub.Insert(milvus_pb2.InsertRequest(fields_data=columns, num_rows=1, **place))
        else:
            answer = stub.Upsert(milvus_pb2.UpsertRequest(fields_data=columns, num_rows=1, **place))
        outcome = answer.status.reason or "written"
        print(f"{row['target']} {row['key']}: {outcome}")


if __name__ == "__main__":
    main(*sys.argv[1:])

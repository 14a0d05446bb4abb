#!/usr/bin/env bash
# pyarrow 26.0.1
#
# Reading some columns of a memory-mapped Arrow file with `included_fields` copies them; reading all columns does not.
#
# `included_fields` is meant to read less, but here it copies the column beside the chosen one too. A memory-mapped file
# in Arrow's format is read without a copy, so choosing columns from the whole batch costs no memory. A stream is not
# copied either way.
#
# Output seen:
#   file, all columns: 0 bytes allocated
#   file, one column: 16000000 bytes allocated
#   stream, one column: 0 bytes allocated
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet pyarrow==26.0.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import numpy as np
import pyarrow as pa

table = pa.table({"a": np.zeros(10**6), "b": np.zeros(10**6)})
for make, name in ((pa.ipc.new_file, "file"), (pa.ipc.new_stream, "stream")):
    with pa.OSFile(name, "wb") as sink, make(sink, table.schema) as writer:
        writer.write_table(table)


def allocated(name, fields):
    options = pa.ipc.IpcReadOptions(included_fields=fields)
    before = pa.total_allocated_bytes()
    with pa.memory_map(name) as mapped:
        if name == "file":
            batch = pa.ipc.open_file(mapped, options=options).get_batch(0)
        else:
            batch = pa.ipc.open_stream(mapped, options=options).read_next_batch()
        return pa.total_allocated_bytes() - before


results = {
    "file, all columns": allocated("file", None),
    "file, one column": allocated("file", [0]),
    "stream, one column": allocated("stream", [0]),
}
for name, result in results.items():
    print(f"{name}: {result} bytes allocated")
assert results == {"file, all columns": 0, "file, one column": 16_000_000, "stream, one column": 0}
PYTHON

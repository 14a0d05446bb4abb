#!/usr/bin/env bash
# pyarrow 26.0.1
#
# `ParquetFile.read(columns=...)` ignores a missing name without an error, and `a.b` selects the column `a.b` and also
# field `b` of the struct `a`.
#
# pyarrow.parquet.read_table raises an error for the missing name, and `a.b` selects only the column of that name.
# ParquetFile.iter_batches behaves as ParquetFile.read does. Its batches span row groups.
#
# Output seen:
#   read, missing: ['a.b', 'a']
#   iter_batches, missing: ['a.b', 'a']
#   read_table, dotted: ['a.b']
#   batch sizes: [3, 3]
#   read_table, missing: No match for FieldRef.Name(zz)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet pyarrow==26.0.1
env/bin/python - <<'PYTHON'
import pyarrow as pa
import pyarrow.parquet as pq

pq.write_table(pa.table({"a.b": range(6), "a": [{"b": i, "c": i} for i in range(6)]}), "a.parquet", row_group_size=2)
file = pq.ParquetFile("a.parquet")
results = {
    "read, missing": file.read(columns=["a.b", "zz"]).schema.names,
    "iter_batches, missing": next(file.iter_batches(columns=["a.b", "zz"])).schema.names,
    "read_table, dotted": pq.read_table("a.parquet", columns=["a.b"]).schema.names,
    "batch sizes": [len(batch) for batch in file.iter_batches(batch_size=3)],
}
try:
    pq.read_table("a.parquet", columns=["a.b", "zz"])
except pa.ArrowInvalid as error:
    results["read_table, missing"] = str(error).split(" in ")[0]
for name, result in results.items():
    print(f"{name}: {result}")
assert results == {
    "read, missing": ["a.b", "a"],
    "iter_batches, missing": ["a.b", "a"],
    "read_table, dotted": ["a.b"],
    "batch sizes": [3, 3],
    "read_table, missing": "No match for FieldRef.Name(zz)",
}
PYTHON

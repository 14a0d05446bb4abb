#!/usr/bin/env bash
# tensorflow 2.21.0
#
# TFRecordDataset takes a file that is cut within the first 12 bytes of a record for a whole file, without an error.
#
# These bytes are the length of the record and its checksum. A cut behind them is a DataLossError.
#
# Output seen:
#   cut after 0 to 11 bytes of the second record: 1 record
#   cut after 12 to 23 bytes of it: DataLossError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet tensorflow==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 env/bin/python - <<'PYTHON'
from pathlib import Path

import tensorflow as tf

with tf.io.TFRecordWriter("whole") as writer:
    for number in range(3):
        writer.write(b"record %d" % number)
content = Path("whole").read_bytes()
size = len(content) // 3
found = {}
for length in range(size):
    Path("cut").write_bytes(content[: size + length])
    try:
        found[length] = sum(1 for _ in tf.data.TFRecordDataset("cut"))
    except tf.errors.DataLossError:
        found[length] = "DataLossError"
print("cut after 0 to 11 bytes of the second record:", found[11], "record")
print(f"cut after 12 to {size - 1} bytes of it:", found[12])
assert all(found[length] == (1 if length < 12 else "DataLossError") for length in range(size))
PYTHON

#!/usr/bin/env bash
# zstandard 0.25.0, pandas 3.1.1, fsspec 2026.9.0
#
# zstandard reads a truncated .zst file without an error, and so do `pandas.read_csv` and `fsspec.open`, which use it.
#
# The readers of gzip, bzip2, xz and lz4 raise EOFError. A copy that was cut off loses the last rows of a table, and
# nothing says so. `decompressobj` has the attribute `eof`, which tells a whole frame from a truncated one.
#
# Output seen:
#   rows written:                        200000
#   pandas.read_csv of half the file:    66647 rows, no error
#   fsspec.open of half the file:        655360 of 2088890 bytes, no error
#   zstandard.open of half the file:     655360 of 2088890 bytes, no error
#   gzip, the same:                      EOFError
#   decompressobj().eof:                 False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet zstandard==0.25.0 pandas==3.1.1 fsspec==2026.9.0 numpy==2.4.6
env/bin/python - <<'PYTHON'
import gzip

import fsspec
import pandas as pd
import zstandard

content = b"".join(b"%d,0.5\n" % row for row in range(200_000))
packed = zstandard.ZstdCompressor().compress(content)
half = packed[: len(packed) // 2]
with open("half.csv.zst", "wb") as stream:
    stream.write(half)
rows = len(pd.read_csv("half.csv.zst", header=None))
with fsspec.open("half.csv.zst", "rb", compression="infer") as stream:
    through_fsspec = len(stream.read())
with zstandard.open("half.csv.zst", "rb") as stream:
    through_zstandard = len(stream.read())
print("rows written:                       ", 200_000)
print("pandas.read_csv of half the file:   ", rows, "rows, no error")
print("fsspec.open of half the file:       ", through_fsspec, "of", len(content), "bytes, no error")
print("zstandard.open of half the file:    ", through_zstandard, "of", len(content), "bytes, no error")
assert rows < 200_000
assert through_fsspec == through_zstandard < len(content)
packed = gzip.compress(content)
try:
    gzip.decompress(packed[: len(packed) // 2])
    raise SystemExit("expected an error")
except EOFError as error:
    print("gzip, the same:                     ", type(error).__name__)
frame = zstandard.ZstdDecompressor().decompressobj()
frame.decompress(half)
print("decompressobj().eof:                ", frame.eof)
assert not frame.eof
PYTHON

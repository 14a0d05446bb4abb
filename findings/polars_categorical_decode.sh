#!/usr/bin/env bash
# polars 2.1.0, pyarrow 26.0.1
#
# pyarrow accepts a polars Categorical column but cannot convert it to text: array_take has no kernel for string_view.
#
# polars exports a Categorical as a dictionary of string_view. take and to_pylist work on it. dictionary_decode and a
# cast to string fail, and so does take on a plain string_view array.
#
# Output seen:
#   dictionary<values=string_view, indices=uint32, ordered=0>
#   dictionary_decode: Function 'array_take' has no kernel matching input types (string_view, uint32)
#   cast: Function 'array_take' has no kernel matching input types (string_view, uint32)
#   take of string_view: Function 'array_take' has no kernel matching input types (string_view, int64)
#   dictionary cast first: ['b', 'a']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet polars==2.1.0 pyarrow==26.0.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import polars as pl
import pyarrow as pa

column = pa.chunked_array(pl.Series(["b", "a", "b"], dtype=pl.Categorical))
print(column.type)
assert column.take(pa.array([1])).to_pylist() == ["a"]
attempts = {
    "dictionary_decode": lambda: column.chunk(0).dictionary_decode(),
    "cast": lambda: column.cast(pa.string()),
    "take of string_view": lambda: pa.array(["b", "a"], pa.string_view()).take(pa.array([1])),
}
for name, attempt in attempts.items():
    try:
        attempt()
        raise SystemExit(f"{name}: expected an error")
    except pa.ArrowNotImplementedError as error:
        print(f"{name}: {error}")
print("dictionary cast first:", column.chunk(0).dictionary.cast(pa.string()).to_pylist())
PYTHON

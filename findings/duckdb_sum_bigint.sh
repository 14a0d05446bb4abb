#!/usr/bin/env bash
# duckdb 2.0.1
#
# The sum of a BIGINT column is a HUGEINT, which duckdb converts to a rounded float64 for pandas and numpy.
#
# max of the same column stays an exact int64. fetchall gives an exact Python int, and Arrow gives decimal128(38, 0).
# So the type and the last digits of a sum depend on the fetch method.
#
# Output seen:
#   types:  [HUGEINT, BIGINT]
#   pandas: float64 9007199254740992 int64 9007199254740993
#   numpy:  float64 9007199254740992
#   arrow:  decimal128(38, 0) 9007199254740993
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet duckdb==2.0.1 pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
env/bin/python - <<'PYTHON'
import duckdb

value = 2**53 + 1
query = duckdb.sql(f"select sum(x) as s, max(x) as m from (values ({value}::bigint)) t(x)")
frame, arrays, arrow = query.df(), query.fetchnumpy(), query.to_arrow_table()
print("types: ", query.types)
print("pandas:", frame["s"].dtype, int(frame["s"][0]), frame["m"].dtype, int(frame["m"][0]))
print("numpy: ", arrays["s"].dtype, int(arrays["s"][0]))
print("arrow: ", arrow.schema.field("s").type, arrow["s"][0].as_py())
assert str(frame["s"].dtype) == str(arrays["s"].dtype) == "float64"
assert int(frame["s"][0]) == int(arrays["s"][0]) == value - 1
assert int(frame["m"][0]) == value
assert str(arrow.schema.field("s").type) == "decimal128(38, 0)" and arrow["s"][0].as_py() == value
PYTHON

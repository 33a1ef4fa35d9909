#!/usr/bin/env bash
# pandas 3.1.1, pyarrow 26.0.1.
#
# Behaviour: `DataFrame.to_parquet` keeps an ordered categorical of text, with its order and unused categories. It writes
# an ordered categorical of whole numbers as plain int64: categories, order and unused categories are lost, and nothing
# says so.
#
# Expected: both come back as they were, since Parquet's dictionary type holds integers as well, or a warning.
#
# Output seen:
#   word:  category, ordered, categories ['c', 'b', 'a']
#   grade: int64
#
# Who is hurt: whoever keeps grades, ratings or codes as ordered categories of numbers: after a round trip a model takes
# 3 > 1 for granted where the frame said 3 < 2 < 1, and the category that no row has is gone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pandas==3.1.1 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import warnings

import pandas as pd

warnings.simplefilter("error")
word = pd.Categorical(["c", "a", "c"], categories=["c", "b", "a"], ordered=True)
grade = pd.Categorical([3, 1, 3], categories=[3, 2, 1], ordered=True)
pd.DataFrame({"word": word, "grade": grade}).to_parquet("table.parquet")
back = pd.read_parquet("table.parquet")
kind = back["word"].dtype
print(f"word:  {kind}, {'ordered' if kind.ordered else 'not ordered'}, categories {kind.categories.tolist()}")
print(f"grade: {back['grade'].dtype}")
assert kind.ordered
assert kind.categories.tolist() == ["c", "b", "a"]
assert back["grade"].dtype == "int64"
PY

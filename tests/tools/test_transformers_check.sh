#!/usr/bin/env bash
# test_transformers_check.sh SWITCHYARD SOURCE: models go from transformers to Switchyard and back,
# trained, forked and averaged on the way; tests/golden/check_published.py. Skipped (77) where the
# Python of $TRANSFORMERS_PYTHON, or python3, has no torch and transformers.
set -eu
program=$1 source=$2 python=${TRANSFORMERS_PYTHON:-python3}
command -v "$python" >/dev/null || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PYTHONDONTWRITEBYTECODE=1 "$python" "$source/tests/golden/check_published.py" "$program" "$folder"

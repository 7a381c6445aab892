#!/usr/bin/env bash
# test_tensorboard_check.sh SWITCHYARD SOURCE: TensorBoard's own reader sees of a run what its metrics
# say: killed in a step and resumed, back at an earlier step, with averages, and two runs of one name.
# Skipped (77) where the Python of $TENSORBOARD_PYTHON, or python3, has no TensorBoard.
set -eu
program=$1 source=$2 python=${TENSORBOARD_PYTHON:-python3}
command -v "$python" >/dev/null || exit 77
folder=$(readlink -e "$(mktemp -d)")
pid=
trap '[ -z "$pid" ] || kill -KILL $pid; rm -rf "$folder"' EXIT
cd "$folder"

holds() { # RUN
  "$python" "$source/tools/tensorboard_check.py" "events/$1" "$1" 2>errors.txt || {
    code=$?
    cat errors.txt
    exit $code
  }
}

cp "$source/docs/paths.md" text
"$program" tokenize --input text --output-prefix tokens >/dev/null
options="--data-path tokens --num-layers 1 --hidden-size 32 --num-attention-heads 2 --seq-length 16
         --global-batch-size 2 --lr 1e-3 --split 9,1 --eval-interval 7 --eval-iters 1 --save-interval 20
         --average ema:beta=0.9,every=1 running --tensorboard events"
# shellcheck disable=SC2086 # words
"$program" train a/main $options --train-iters 30 2>/dev/null
holds a/main
"$program" train a/main --train-iters 1000000 2>/dev/null &
pid=$!
for ((i = 0; i < 600; i++)); do
  [ "$(wc -l <a/main/metrics.jsonl)" -lt 100 ] || break
  sleep 0.05
done
kill -KILL $pid
wait $pid 2>/dev/null || true
pid=
last=$(grep '}$' a/main/metrics.jsonl | tail -1 | grep -o '"step":[0-9]*' | grep -o '[0-9]*')
"$program" train a/main --train-iters $((last + 5)) 2>/dev/null
holds a/main
"$program" train a/main --load-step 40 --train-iters 61 2>/dev/null
holds a/main
# shellcheck disable=SC2086
"$program" train b/main $options --train-iters 5 2>/dev/null
holds b/main
holds a/main

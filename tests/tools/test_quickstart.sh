#!/usr/bin/env bash
# test_quickstart.sh HOUSE PROGRAM: launch/quickstart as its user meets it, with a tiny model on tiny
# sets: killed on the way, gone on, ended, run again; what it refuses.
set -eu
house=$1 program=$2 failures=0
work=$(readlink -e "$(mktemp -d)")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{launch/campaigns,build/release}
cp "$house"/launch/{quickstart,mpirun} "$house/tests/docs/stand_ins/setup" "$work/launch"
ln -s "$program" "$work/build/release/switchyard"
sed -E 's/^(num-layers|ranks|tensor-model-parallel-size) = [0-9]+/\1 = 1/
        s/^hidden-size = 192/hidden-size = 32/; s/^seq-length = 256/seq-length = 32/
        s/^lr-warmup-iters = 100/lr-warmup-iters = 2/; s/^steps = ([0-9]+)0$/steps = \1/
        s/^(save-interval|every) = 50/\1 = 10/; s/^window = 250/window = 20/; s/every=50/every=10/' \
  "$house/launch/campaigns/quickstart.toml" >"$work/launch/campaigns/quickstart.toml"
folder=$work/run
export OMP_NUM_THREADS=1

expect() { # WHAT CONDITION...
  local what=$1
  shift
  "$@" && return
  echo "FAILED: $what"
  failures=$((failures + 1))
}
quickstart() { timeout 120 "$work/launch/quickstart" "$folder" >"$work/out" 2>"$work/errors"; }
refuses() { # PART OF THE MESSAGE
  local code=0
  quickstart || code=$?
  [[ $code == 2 ]] && grep -q "$1" "$work/errors"
}
metrics_of_main() { cat "$folder/main/metrics.jsonl" 2>/dev/null || true; }

SEED=x expect "a seed that is none" refuses "SEED=x; a whole number"
mkdir -p "$folder/main"
expect "a folder of an older quickstart" refuses "before campaigns"
rmdir "$folder/main"

mkdir -p "$folder/data"
for name in old new; do
  for set in "$name" "$name-held-out"; do
    "$program" tokenize --input "$house/launch/mpirun" "$house/launch/setup" \
      --output-prefix "$folder/data/$set" >/dev/null
  done
done
SEED=7 "$work/launch/quickstart" "$folder" >"$work/killed" 2>&1 &
killed=$!
for ((i = 0; i < 300; ++i)); do
  [[ $(metrics_of_main | wc -l) -lt 3 ]] && kill -0 "$killed" || break
  sleep 0.1
done
kill -KILL "$killed" || cat "$work/killed"
wait "$killed" 2>/dev/null || true
expect "another seed than before" env SEED=8 bash -c "! '$work/launch/quickstart' '$folder' 2>/dev/null"
expect "what was killed goes on" quickstart
[[ $failures == 0 ]] || cat "$work/out" "$work/errors"
expect "twelve rows" test "$(grep -cE '^  .* +[0-9]\.[0-9]{4} +[0-9]\.[0-9]{4}$' "$work/out")" = 12
expect "the report is named last" test "$(tail -n 1 "$work/out")" = "Open $folder/report.html in a browser"
expect "the report is there" test -s "$folder/report.html"
expect "the seed that was given" grep -q '^seed = 7 ' "$folder/campaign.toml"
expect "no step was lost" test "$(metrics_of_main | grep -c '"loss"')" = 130

before=$(metrics_of_main)
expect "all is there" quickstart
expect "nothing is trained again" test "$(metrics_of_main)" = "$before"
exit $((failures > 0))

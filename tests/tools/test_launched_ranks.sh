#!/usr/bin/env bash
# test_launched_ranks.sh PROGRAM MPIRUN: the program with ranks that are processes sharing one GPU:
# every way of starting them and several layouts train as one rank does, a signal to the launcher
# saves and stops all of them, and a path goes on in another layout.
program=$1 mpirun=$2
# shellcheck source-path=SCRIPTDIR source=shell_test
. "$(dirname "${BASH_SOURCE[0]}")/shell_test"

options+=(--global-batch-size 4 --hidden-dropout 0.1 --attention-dropout 0.1 --clip-grad 1 --device cuda
  --no-matmul-tuning)
make_tokens text

launched() { timeout 300 "$program" launch -np "$1" --ranks-per-gpu "$1" -- train "${@:2}"; }

losses() { sed -n 's/.*"loss":\([^,}]*\).*/\1/p' "$1/metrics.jsonl"; }

expect_as_alone() {  # RUN TOLERANCE
  paste <(losses alone) <(losses "$1") | awk -v most="$2" '
    { d = ($1 - $2) / $1; if (d < 0) d = -d; if (NF < 2 || d > most) bad = 1 }
    END { exit NR != 4 || bad }' || failed "$1: $(losses "$1" | tr '\n' ' '), not" $(losses alone)
}

timeout 300 "$program" train alone "${options[@]}" --train-iters 4 >log 2>&1 || failed "$(cat log)"
for layout in "2 2 1" "2 1 2" "2 1 1" "4 2 2"; do
  read -r ranks tp pp <<<"$layout"
  run=launched-$ranks-$tp-$pp
  launched "$ranks" "$run" "${options[@]}" --train-iters 4 --tp "$tp" --pp "$pp" >log 2>&1 ||
    failed "$run: $(cat log)"
  expect_as_alone "$run" 1e-5
done
launched 2 overlap "${options[@]}" --train-iters 4 --tp 2 --tp-comm-overlap >log 2>&1 ||
  failed "overlap: $(cat log)"
[ "$(losses overlap)" = "$(losses launched-2-2-1)" ] ||
  failed "overlap:" $(losses overlap) "not" $(losses launched-2-2-1)
SWITCHYARD_RANKS_PER_GPU=2 timeout 300 "$mpirun" -np 2 "$program" train mpi "${options[@]}" \
  --train-iters 4 --tp 2 >log 2>&1 || failed "mpi: $(cat log)"
expect_as_alone mpi 1e-5

# A file store and ranks' numbers, without any launcher or port. Each start needs a folder of its own.
for run in files again; do
  for rank in 1 0; do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=2 SWITCHYARD_STORE=$folder/store SWITCHYARD_RANKS_PER_GPU=2 \
      timeout 300 "$program" train $run "${options[@]}" --train-iters 4 --pp 2 >log-$rank 2>&1 &
  done
  wait
done
expect_as_alone files 1e-5
grep -q "store/rank.0, as another start was given the folder" log-0 && [ ! -s log-1 ] ||
  failed "in a used store: $(cat log-0 log-1)"

# Stopped by a signal to the launcher, then continued by one rank fewer. Ctrl-C saves, too.
stop_launched() { # SIGNAL
  local launcher status=0 step
  rm -rf stopped
  set -m # else an interrupt is ignored behind &
  timeout 300 "$program" launch -np 2 --ranks-per-gpu 2 -- train stopped "${options[@]}" --tp 2 \
    --train-iters 100000 >log 2>&1 &
  launcher=$!
  set +m
  for _ in $(seq 1200); do
    grep -qs '"step":2,' stopped/metrics.jsonl && break
    sleep 0.1
  done
  pkill "-$1" -P "$launcher"  # timeout's child is the launcher
  wait "$launcher" || status=$?
  [[ $status == 75 ]] || failed "stopped by $1 with $status: $(cat log)"
  step=$(find stopped/checkpoints -name checkpoint.h5 | sed 's/.*step-0*\([0-9]*\).*/\1/' | sort -n | tail -1)
  [[ -n $step && $step -ge 2 ]] || failed "nothing was saved: $(cat log)"
  timeout 300 "$program" train stopped --data-path data/text --device cuda --no-matmul-tuning \
    --train-iters $((step + 2)) >log 2>&1 || failed "continued: $(cat log)"
  grep -q "step $((step + 2))/" log || failed "not continued: $(cat log)"
}
stop_launched USR1
stop_launched INT

# A signal while ranks start ends them before their first step, without a path, or lets them save.  (Of process 0 everybody is a child.)
for delay in 0 0.05 0.1 0.2; do
  rm -rf early
  timeout 60 "$program" launch -np 2 --ranks-per-gpu 2 -- train early "${options[@]}" --tp 2 \
    --train-iters 100000 >log 2>&1 &
  waiter=$! status=0
  until [[ $(pgrep -c -P "$(pgrep -P $waiter || echo 2147483647)") -ge 2 ]]; do sleep 0.01; done
  sleep $delay
  pkill -TERM -P $waiter
  wait $waiter || status=$?
  saved() { compgen -G "early/checkpoints/step-*/checkpoint.h5" >/dev/null; }
  before() { grep -q "before the first step" log && [[ ! -e early/path.json ]]; }
  [[ $status == 75 ]] && { saved || before; } || failed "after $delay: $status $(cat log)"
done

# A rank that waits for rank 0 takes a signal; there is nothing to save yet.
status=0
RANK=1 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=1 timeout --preserve-status -s TERM 4 \
  "$program" train alone "${options[@]}" >log 2>&1 || status=$?
[[ $status == 75 ]] && grep -q "while it waited for rank 0" log || failed "waiting: $status $(cat log)"

# Without a GPU the launcher says what to use instead.
SWITCHYARD_EMULATED_DEVICES=0 launched 2 none "${options[@]}" >log 2>&1 && failed "no GPU was needed"
grep -q "this machine shows no GPU" log || failed "no word of GPUs: $(cat log)"
exit $((failures > 0))

#!/usr/bin/env bash
# test_unlike_ranks.sh PROGRAM: ranks without MPI that were not started alike: each machine hears of
# its own wrong use.
program=$1
# shellcheck source-path=SCRIPTDIR source=shell_test
. "$(dirname "${BASH_SOURCE[0]}")/shell_test"

port=$((29000 + $$ % 900))
start() {  # RANK LOCAL_RANK ARGUMENTS
  RANK=$1 LOCAL_RANK=$2 WORLD_SIZE=${size:-2} MASTER_ADDR=${addr:-127.0.0.1} MASTER_PORT=$port \
    timeout 60 "$program" "${@:3}" >"log-$1" 2>&1 &
  pids[$1]=$!
}
finish() {  # CODES: how the ranks end, by rank
  local pid codes=""
  for pid in "${pids[@]}"; do
    wait "$pid" 2>/dev/null
    codes+=" $?"
  done
  [[ $codes == " $1" ]] || failed "codes$codes, not $1: $(cat log-*)"
  pids=() port=$((port + 1))
}

# What all ranks meet rank 0 says at once; the others are there for a moment longer, as a launcher
# ends all when one has ended. The first one of a machine says what may be its machine's alone.
begin=$(date +%s%N)
start 3 1 train new --frobnicate 1
start 2 0 train new --frobnicate 1
start 0 0 train new --frobnicate 1
wait "${pids[0]}"
took=$((($(date +%s%N) - begin) / 1000000))
[[ -d /proc/${pids[2]} && -d /proc/${pids[3]} ]] || failed "the others ended with rank 0 after $took ms"
! grep -q . log-2 log-3 || failed "others spoke before rank 0 had ended: $(cat log-2 log-3)"
finish "2 2 2"
expect log-0 log-0 "switchyard: [options] --frobnicate is unknown"
expect log-2 log-2 "[options] --frobnicate is unknown" "(rank 2 on $(uname -n))"
[[ ! -s log-3 ]] || failed "a rank beside it spoke, too: $(cat log-3)"

# As soon as ranks can talk they compare what they were given.
for i in $(seq 300); do echo "$((i * i % 97)) cats, "; done >text
"$program" tokenize --input text --output-prefix data/text >/dev/null || exit 1
options=(--data-path data/text --num-layers 1 --hidden-size 16 --num-attention-heads 2
  --seq-length 12 --global-batch-size 4 --lr 1e-3 --device cpu --train-iters 2)
unlike() { # TEXT [OPTION...]: of rank 1 alone
  local text=$1
  shift
  start 1 0 train new "${options[@]}" "$@"
  start 0 0 train new "${options[@]}"
  finish "2 2"
  expect log-0 log-0 "[options] $text"
  [[ $(cat log-0 log-1 | wc -l) == 1 && ! -e new ]] || failed "not said once: $(cat log-0 log-1)"
}
host=$(uname -n)
unlike "--save-interval is 1 on $host (rank 1), but not given on $host (rank 0)" --save-interval 1
unlike "--seed is 7 on $host (rank 1), but not given on" --seed 7
start 1 0 eval new --data-path data/text --device cpu
start 0 0 train new "${options[@]}"
finish "2 2"
expect log-0 log-0 "subcommand is eval on $host (rank 1), but train on $host (rank 0)"
# The same in other words, and what is a machine's own.
printf 'tp = 1\n' >file
start 1 0 train new "${options[@]}" --interface lo --config file
start 0 0 train new "${options[@]}" --tensor-model-parallel-size=1
finish "0 0"
! grep -q "look for it" log-0 log-1 || failed "a warning of an address that is this machine's"

# Where rank 0 is not where the others look for it, it says so at once.
rm log-0
addr=192.0.2.1 start 0 0 train new "${options[@]}" --distributed-timeout-seconds 60
for _ in $(seq 100); do
  [[ -s log-0 ]] && break
  sleep 0.1
done
expect log-0 log-0 "rank 0 runs on $host, but others look for it at 192.0.2.1 (MASTER_ADDR)"
kill "${pids[0]}"
finish 75

# A rank of another world is refused at once; rank 0 says so and waits on.
start 0 0 train new "${options[@]}"
size=3 start 2 0 train new "${options[@]}"
pid=${pids[2]} code=0
wait "$pid" || code=$?
[[ $code == 2 ]] || failed "of another world: $code, not 2"
expect log-2 log-2 "[store] rank 2 of 3 (process" "was told of 2 ranks"
expect log-0 log-0 "rank 2 of 3 (process"
kill "${pids[0]}"
unset "pids[2]"
finish 75
exit $((failures > 0))

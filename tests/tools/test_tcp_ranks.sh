#!/usr/bin/env bash
# test_tcp_ranks.sh PROGRAM MPIRUN: ranks on the CPU started without MPI, as torchrun or srun would:
# they train with the bits of ranks under MPI, save and stop at a signal, and end soon, naming it,
# when one of them is killed or stopped.
program=$1 mpirun=$2
# shellcheck source-path=SCRIPTDIR source=shell_test
. "$(dirname "${BASH_SOURCE[0]}")/shell_test"

options+=(--global-batch-size 4 --hidden-dropout 0.1 --attention-dropout 0.1 --clip-grad 1 --device cpu
  --no-matmul-tuning)
make_tokens text

port=$((21000 + $$ % 8000))
start() {  # RANKS ARGUMENTS: as torchrun starts them
  local rank ranks=$1
  pids=()
  port=$((port + 1))
  for ((rank = ranks - 1; rank >= 0; --rank)); do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$ranks LOCAL_WORLD_SIZE=$ranks MASTER_ADDR=127.0.0.1 \
      MASTER_PORT=$port timeout 100 "$program" "${@:2}" \
      >"log-$rank" 2>&1 &
    pids[rank]=$!
  done
}

as_slurm() {  # RANKS ARGUMENTS: with what srun --mpi=none sets
  local rank ranks=$1
  pids=()
  port=$((port + 1))
  for ((rank = 0; rank < ranks; ++rank)); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_STEP_NUM_TASKS=$ranks SLURM_JOB_ID=7 \
      SLURM_STEP_NODELIST=no-such-host MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
      timeout 100 "$program" "${@:2}" >"log-$rank" 2>&1 &
    pids[rank]=$!
  done
}

finish() {  # CODES WHAT: how the ranks end
  local pid codes=""
  for pid in "${pids[@]}"; do
    wait "$pid" 2>/dev/null
    codes+=" $?"
  done
  [[ $codes == " $1" ]] || failed "$2: codes$codes, not $1: $(cat log-*)"
}

bits() { sed 's/.*"loss":\([^,}]*\).*"grad_norm":\([^,}]*\).*/\1 \2/' "$1/metrics.jsonl"; }

for layout in "2 1" "1 2"; do
  read -r tp pp <<<"$layout"
  timeout 100 "$mpirun" -np 4 "$program" train "mpi-$tp-$pp" "${options[@]}" --train-iters 5 \
    --tp "$tp" --pp "$pp" >log 2>&1 || failed "mpi $layout: $(cat log)"
  start 4 train "tcp-$tp-$pp" "${options[@]}" --train-iters 5 --tp "$tp" --pp "$pp"
  finish "0 0 0 0" "tcp $layout"
  [[ $(bits "tcp-$tp-$pp" | wc -l) == 5 && $(bits "tcp-$tp-$pp") == "$(bits "mpi-$tp-$pp")" ]] ||
    failed "bits of $layout: $(bits "tcp-$tp-$pp") not $(bits "mpi-$tp-$pp")"
done

SWITCHYARD_STORE=$folder/store start 4 train files "${options[@]}" --train-iters 5 --tp 2
finish "0 0 0 0" "through a folder"
[[ $(bits files) == "$(bits mpi-2-1)" ]] || failed "bits through a folder"
as_slurm 4 train slurm "${options[@]}" --train-iters 5 --tp 2
finish "0 0 0 0" "as srun"
[[ $(bits slurm) == "$(bits mpi-2-1)" ]] || failed "bits as srun"

start 2 train wrong "${options[@]}" --train-iters 1 --interface no-such-one
finish "2 2" "an interface that is not there"
grep -q -- "--interface no-such-one; this machine has, with IPv4 addresses: .*lo" log-* ||
  failed "no interfaces named: $(cat log-*)"
start 2 train loopback "${options[@]}" --train-iters 1 --interface lo
finish "0 0" "over the loopback"

await_step() {  # RUN STEP
  local i
  for ((i = 0; i < 300; ++i)); do
    grep -q "\"step\":$2," "$1/metrics.jsonl" 2>/dev/null && return
    sleep 0.1
  done
  failed "$1 has not come to step $2: $(cat log-*)"
}
signal() {  # NAME RANK: timeout's child
  local child
  read -r child <"/proc/${pids[$2]}/task/${pids[$2]}/children"
  kill "-$1" "$child"
}

start 4 train stopped "${options[@]}" --train-iters 100000 --save-interval 100000 --tp 2
await_step stopped 2
signal USR1 3
finish "75 75 75 75" "a signal"

start 4 train killed "${options[@]}" --train-iters 100000 --save-interval 100000 --pp 2
await_step killed 2
signal KILL 2
begin=$(date +%s%N)
finish "76 76 137 76" "a rank that was killed"
took=$((($(date +%s%N) - begin) / 1000000))
((took < 3000)) || failed "the others ended after $took ms"
# The first that names it tells the others, which may then be silent.
grep -q "world rank 2.* is gone" log-0 log-1 log-3 || failed "nobody names world rank 2: $(cat log-[013])"
! grep "world rank [013] [^:]*is gone" log-0 log-1 log-3 || failed "a rank blames another"
exit $((failures > 0))

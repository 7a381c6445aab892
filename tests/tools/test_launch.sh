#!/usr/bin/env bash
# test_launch.sh PROGRAM LATE_RANK: ranks on cores without MPI, on one node and on several, and their restarts:
# a run of which a rank was killed has the bits of one that was never hit.
program=$1 late_rank=$2
# shellcheck source-path=SCRIPTDIR source=shell_test
. "$(dirname "${BASH_SOURCE[0]}")/shell_test"

make_tokens text
options+=(--global-batch-size 4 --hidden-dropout 0.1 --device cpu)
losses() { sed -n 's/.*"step":\([0-9]*\),.*"loss":\([^,}]*\).*/\1 \2/p' "$1/metrics.jsonl" | sort -n; }
expect_like() { # RUN OTHER
  [[ -s $1/metrics.jsonl && $(losses "$1") == "$(losses "$2")" ]] ||
    failed "$1 is not like $2: $(diff <(losses "$1") <(losses "$2") | head -3)"
}
rank_process() { # RUN RANK
  local process
  for process in $(pgrep -f "^switchyard train $1 "); do
    grep -qzx "RANK=$2" "/proc/$process/environ" && echo "$process"
  done
}

timeout 60 "$program" launch -np 2 -- train whole "${options[@]}" --tp 2 --train-iters 80 \
  --save-interval 20 >log 2>&1 || failed "$(cat log)"

# A rank killed: the others end, and ranks go on from the last saved step.
timeout 60 "$program" launch -np 2 --restarts 1 -- train hit "${options[@]}" --tp 2 \
  --train-iters 80 --save-interval 20 >log 2>&1 &
launcher=$!
wait_for_saved hit 20
wait_for_step hit 25
kill -KILL "$(rank_process hit 1)"
wait $launcher || failed "restarted: $? $(cat log)"
expect "restarted" log "rank 1 on $(hostname) was ended by signal 9" \
  "restart 1 of 1 behind exit code 76: goes on from step"
expect_like hit whole

# Without a restart left the code is handed on; a --load-step has done its work once.
timeout 60 "$program" launch -np 2 --max-restarts 1 -- train hit --data-path data/text --tp 2 \
  --load-step 40 --train-iters 100000 --save-interval 10 --device cpu >log 2>&1 &
launcher=$!
wait_for_saved hit 90
wait_for_step hit 95
kill -KILL "$(rank_process hit 1)"
for _ in $(seq 400); do
  again=$(rank_process hit 0)
  if [[ $again ]] && grep -q "restart 1 of 1" log; then break; fi
  sleep 0.05
done
kill -KILL "$again"
code=0
wait $launcher || code=$?
[[ $code == 76 ]] || failed "without restarts left: $code, not 76"
from=$(sed -n 's/.*restart 1 of 1.*goes on from step \([0-9]*\);.*/\1/p' log)
((${from:-0} >= 90)) || failed "--load-step again: $(cat log)"

# A rank that is stopped does not end when another dies: its state is said, and it is killed.
timeout 60 "$program" launch -np 2 -- train whole --data-path data/text --tp 2 \
  --train-iters 100000 --device cpu >log 2>&1 &
launcher=$! code=0
wait_for_step whole 90
kill -STOP "$(rank_process whole 1)"
kill -KILL "$(rank_process whole 0)"
wait $launcher || code=$?
[[ $code == 76 ]] || failed "a stopped rank: $code, not 76"
expect "a stopped rank" log "rank 1 on $(hostname) was stopped (state T) and does not end"
[[ ! $(pgrep -f "^switchyard train whole ") ]] || failed "a rank is left"

# One that does not run is named while the others wait for it, and their timeout is the code.
timeout 60 "$program" launch -np 2 -- train whole --data-path data/text --tp 2 \
  --train-iters 100000 --device cpu --distributed-timeout-seconds 6 >log 2>&1 &
launcher=$! code=0
sleep 2
wait_for_step whole 90
kill -STOP "$(rank_process whole 1)"
wait $launcher || code=$?
[[ $code == 77 ]] || failed "a rank that hangs: $code, not 77"
expect "a rank that hangs" log "rank 1 on $(hostname) was stopped (state T); see "
expect "a rank that hangs" "$(sed -n 's/.*(state T); see //p' log | head -1)" "State: T"

# A launcher that is killed takes its ranks with it, and leaves nothing in the folder of temporary files.
mkdir tmp
TMPDIR=$folder/tmp timeout 60 "$program" launch -np 2 -- train left "${options[@]}" --tp 2 \
  --train-iters 100000 >log 2>&1 &
wait_for_step left 5
pkill -KILL -P $!
wait $!
[[ ! $(ls tmp) ]] || failed "a killed launcher leaves $(ls tmp)"
for _ in $(seq 100); do
  [[ $(pgrep -f "^switchyard train left ") ]] || break
  sleep 0.05
done
[[ ! $(pgrep -f "^switchyard train left ") ]] || failed "a killed launcher leaves ranks"

# A fault where addresses are limited: what a library does that is given no memory.
(ulimit -v $((256 << 20)) && exec timeout 60 "$program" launch -np 2 -- train fault "${options[@]}" \
  --tp 2 --train-iters 100000) >log 2>&1 &
launcher=$! code=0
wait_for_step fault 5
kill -SEGV "$(rank_process fault 1)"
wait $launcher || code=$?
[[ $code == 76 ]] || failed "a fault: $code, not 76: $(cat log)"
expect "a fault" log "was ended by signal 11" "'ulimit -v' allows $((256 << 20)) KiB"

# A signal is passed on to ranks once; it is no reason to start again.
timeout 60 "$program" launch -np 2 --restarts 3 -- train signalled "${options[@]}" --tp 2 \
  --train-iters 100000 >log 2>&1 &
launcher=$! code=0
wait_for_step signalled 5
pkill -USR1 -P $launcher
wait $launcher || code=$?
[[ $code == 75 ]] || failed "USR1: $code, not 75: $(cat log)"
grep -q restart log && failed "a stopped run was restarted: $(cat log)"

# A second interrupt ends them at once, and it is said.
timeout 60 "$program" launch -np 2 -- train interrupted "${options[@]}" --tp 2 \
  --train-iters 100000 >log 2>&1 &
launcher=$! code=0
wait_for_step interrupted 5
pkill -STOP -f "^switchyard train interrupted "
pkill -INT -P $launcher
sleep 0.3
pkill -INT -P $launcher
wait $launcher || code=$?
[[ $code == 130 ]] || failed "two interrupts: $code, not 130: $(cat log)"
expect "two interrupts" log "Interrupt: a second signal, ranks are ended at once"

# A launcher's ranks of which one does not come give up 3 seconds behind a signal; nothing is saved.
port=$((20000 + $$ % 9000)) waiters=()
for rank in 0 1; do
  SWITCHYARD_LAUNCHED=1 RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
    timeout --preserve-status -k 15 -s TERM 2 "$program" train waiting "${options[@]}" >log-$rank 2>&1 &
  waiters[rank]=$!
done
for rank in 0 1; do
  code=0
  wait "${waiters[rank]}" || code=$?
  [[ $code == 75 || ($rank == 1 && $code == 76) ]] || failed "rank $rank of 3 waits: $code $(cat log-$rank)"
done
expect "ranks that wait" log-0 "world rank 0 on $(hostname): a signal asked to stop before the first step"
[[ ! -e waiting ]] || failed "a path is made by ranks that wait"

# A signal to one of them: the others hear of it, however late one of them is.
for late in 0 2; do
  LATE_RANK=$late LATE_SECONDS=100 LD_PRELOAD=$late_rank timeout -s KILL 60 "$program" launch -np 3 -- \
    train waiting "${options[@]}" >log 2>&1 &
  launcher=$! code=0
  until process=$(rank_process waiting 1 || true) && [[ -n $process ]] &&
    [[ $(grep -c '^SigCgt:.*[4-7c-f]...$' "/proc/$process/status") == 1 ]]; do sleep 0.1; done
  kill -TERM "$process"
  wait $launcher || code=$?
  [[ $code == 75 ]] || failed "a signal to a rank while rank $late is late: $code, not 75: $(cat log)"
done

# Several nodes: torchrun's options, and srun's variables where it started one launcher on each.
for node in 1 0; do
  timeout 60 "$program" launch -np 2 --nnodes 2 --node-rank $node --master-addr 127.0.0.1 \
    --master-port $port -- train nodes "${options[@]}" --tp 2 --train-iters 6 >log-$node 2>&1 &
done
wait
for node in 1 0; do
  SLURM_JOB_ID=$$ SLURM_STEP_ID=0 SLURM_PROCID=$node SLURM_LOCALID=0 SLURM_NODEID=$node \
    SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=2 SLURM_STEP_NODELIST=localhost \
    SLURM_CPUS_PER_TASK=2 timeout 60 "$program" launch -np 2 -- train slurm "${options[@]}" --tp 2 \
    --train-iters 6 >log-slurm-$node 2>&1 &
done
wait
expect "two nodes" log-0 "tp 2 x pp 1 x dp 2"
expect_like slurm nodes

refused() { # TEXT WORDS...
  local text=$1 code=0
  shift
  "$program" launch "$@" >log 2>&1 || code=$?
  [[ $code == 2 ]] || failed "launch $*: $code, not 2"
  expect "launch $*" log "$text"
}
refused "--nnodes 2 without --master-addr" -np 2 --nnodes 2 --node-rank 0 -- train a
refused "--nnodes 2 without --node-rank" -np 2 --nnodes 2 --master-addr a --master-port 9 -- train a
refused "--node-rank 2 of --nnodes 2" -np 2 --nnodes 2 --node-rank 2 -- train a
refused "whose launchers know nothing of each other" -np 2 --nnodes 2 --node-rank 0 \
  --master-addr a --master-port 9 --restarts 1 -- train a
refused "--srun outside of a Slurm allocation" -np 2 --srun -- train a
refused "--requeue without --srun" -np 2 --requeue -- train a
(ulimit -n 8 && timeout 60 "$program" launch -np 2 -- train a "${options[@]}" --tp 2) >log 2>&1 &&
  failed "8 open files are enough: $(cat log)"
expect "8 open files" log "2 ranks that talk over TCP need 66 open files each; ulimit -Hn allows 8"
refused "this machine shows no GPU" -np 2 --ranks-per-gpu 2 -- train a
refused "-np is missing" -- train a
SLURM_JOB_ID=7 SLURM_STEP_NODELIST=n1,n2 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_STEP_NUM_TASKS=4 \
  SLURM_STEP_NUM_NODES=2 refused "srun started 4 of this launcher on 2 nodes" -np 2 -- train a
OMPI_COMM_WORLD_SIZE=2 refused "mpirun has started this launcher" -np 2 -- train a
exit $((failures > 0))

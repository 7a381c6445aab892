#!/usr/bin/env bash
# test_slurm.sh PROGRAM: batch scripts of `switchyard slurm` and what they run, with stand-ins of
# Slurm's commands: restarts on the nodes that are left, signals, and what is queued again.
program=$1
house=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=shell_test
. "$(dirname "${BASH_SOURCE[0]}")/shell_test"
export PATH=$house/tests/tools/slurm_stand_ins:$PATH CALLS=$folder/calls DEAD=$folder/dead DOWN=$folder/down
touch calls

make_tokens text
options+=(--global-batch-size 6 --device cpu)
slurm() { "$program" slurm "$@" >script 2>log; }

# The script as it is printed and submitted.
slurm run --nodes 3 --tasks-per-node 2 --min-nodes 2 --time 10 --partition main --gpus-per-node 2 \
  --dependency afterok:5 --sbatch-option --exclusive --submit -- train "${options[@]}" --tp 2 \
  --train-iters 12 --save-interval 4 || failed "slurm: $(cat log)"
# shellcheck disable=SC2016
expect "the script" run/slurm/run.sbatch '#SBATCH --nodes=3' '#SBATCH --ntasks-per-node=2' \
  '#SBATCH --signal=B:USR1@120' '#SBATCH --requeue' '#SBATCH --open-mode=append' '#SBATCH --no-kill' \
  "#SBATCH --output=$folder/run/slurm/run-%j.log" '#SBATCH --kill-on-invalid-dep=yes' \
  '#SBATCH --exclusive' '${SLURM_RESTART_COUNT:-0}' 'launch --srun -np 2 --restarts 3 --min-nodes 2'
expect "it is printed" script '#SBATCH --time=10' 'Submitted batch job 17'
expect "it is submitted" calls 'sbatch run/slurm/run.sbatch'
if type shellcheck >/dev/null 2>&1; then shellcheck run/slurm/run.sbatch || failed "shellcheck"; fi

# Words of any kind reach the program as they were given.
slurm odd-%a --array 3-4 --script odd.sbatch -- train "${options[@]}" --seed %a \
  --tensorboard "a b/\$HOME's \"x\"" || failed "odd: $(cat log)"
sed -i "s|^exec [^ ]*|exec printf '%s\\\\n'|" odd.sbatch
SLURM_ARRAY_TASK_ID=4 SLURM_JOB_ID=1 SLURM_JOB_NAME=odd SLURM_JOB_NODELIST=n1 bash odd.sbatch >words
expect "words" words "a b/\$HOME's \"x\""
[[ $(grep -A1 -x -- --seed words | tail -1) == 4 ]] || failed "the array's task: $(cat words)"

[[ $(grep -cx odd-4 words) == 1 ]] || failed "the array's path: $(cat words)"

# Script and log of an array stand where no task's number is in the way.
mkdir seeds
slurm seeds/odd-%a --array 3-4 --srun-options '--exact --comment="a b"' -- train "${options[@]}" \
  --seed %a || failed "seeds: $(cat log)"
# shellcheck disable=SC2016
expect "an array's script" seeds/slurm/odd.sbatch '#SBATCH --job-name=odd' \
  "#SBATCH --output=$folder/seeds/slurm/odd-%A_%a.log" 'seeds/odd-"$SLURM_ARRAY_TASK_ID"'
slurm odd-%a --array 3-4 -- train "${options[@]}" --seed %a || failed "odd: $(cat log)"
[[ -f slurm/odd.sbatch ]] || failed "an array's script: $(find . -name '*.sbatch')"
[[ ! $(find . -name '*%a*') ]] || failed "left of an array: $(find . -name '*%a*')"

# The limit in Slurm's forms, longer than what the signal leaves.
for time in 3 2:30 0:03:00 1-0 1-0:0 1-00:00:00 0 UNLIMITED; do
  slurm timed --time $time -- train "${options[@]}" || failed "--time $time: $(cat log)"
done
grep -q "by hand" log && failed "--min-nodes is warned of: $(cat log)"
slurm timed --nodes 2 --min-nodes 1 -- train "${options[@]}" || failed "--min-nodes: $(cat log)"
expect "--min-nodes" log "leaves the job RUNNING" "scontrol requeue JOB by hand"
slurm timed --nodes 3 --nodes 2 -- train "${options[@]}" --seed 1 --seed 2 ||
  failed "options given again: $(cat log)"
expect "options given again" log "--nodes given 2 times: 2 counts, not 3" \
  "--seed given 2 times: 2 counts, not 1"

refused() { # TEXT WORDS...
  local text=$1 code=0
  shift
  slurm "$@" --train-iters 5 || code=$?
  [[ $code == 2 ]] || failed "slurm $*: $code, not 2"
  expect "slurm $*" log "$text"
}
refused "6 ranks with --tp 4" x --nodes 3 --tasks-per-node 2 -- train "${options[@]}" --tp 4
refused "groups would cross nodes" x --nodes 2 --tasks-per-node 1 -- train "${options[@]}" --tp 2
refused "at most 1 ranks" x --tasks-per-node 2 --gpus-per-node 1 -- train "${options[@]}"
refused "--min-nodes 3 with --nodes 2" x --nodes 2 --min-nodes 3 -- train "${options[@]}"
refused "did you mean --lr" x -- train "${options[@]}" --lrr 3
refused "tp must divide it" x --tasks-per-node 4 -- train "${options[@]}" --tp 4
refused "there is no path in 'x'" x -- train
refused "a word that has %a" x --array 1-2 -- train "${options[@]}"
refused "with the one path 'x' for all tasks" x --array 1-2 -- train "${options[@]}" --seed %a
refused "-- is missing before 'train'" x --nodes 2 train "${options[@]}"
refused "-- is missing before 'train'" x --submit train "${options[@]}"
refused "--time 10m; M, M:S, H:M:S" x --time 10m -- train "${options[@]}"
refused "--time 2 is 120 s; more than --signal-seconds 120" x --time 2 -- train "${options[@]}"
refused "a quote is not closed" x --srun-options "--comment='a" -- train "${options[@]}"
refused "would go back to it each time" x -- train "${options[@]}" --load-step 3
refused "is the work of one process" x --nodes 2 -- average
[[ ! -e x ]] || failed "a refused job has left something"
slurm y --dependency afterok:1 -- train || failed "a path that is still to be made: $(cat log)"
expect "a path that is still to be made" log "'y' is not there yet"
"$program" fork run@1 y >log 2>&1
grep -q "y" log && grep -qi "exists\|taken\|already" log && failed "a script keeps a fork away: $(cat log)"

job() { # SCRIPT ARGUMENTS: as Slurm runs it
  : >calls
  SLURM_JOB_ID=$((RANDOM + 40000)) SLURM_JOB_NAME=$1 SLURM_JOB_NODELIST=n1,n2,n3 SLURM_NNODES=3 \
    SLURM_JOB_CPUS_PER_NODE='2(x3)' timeout 100 bash "$@" >log 2>&1
}
expect_code() { # CODE WHAT
  [[ $code == "$1" ]] || failed "$2: $code, not $1: $(cat log)"
}

# To its end, with nothing queued again.
code=0
job run/slurm/run.sbatch || code=$?
expect_code 0 "a whole job"
expect "a whole job" log "tp 2 x pp 1 x dp 3" "step 12/12"
expect "a whole job" calls "--kill-on-bad-exit=1 --mpi=none --nodes=3 --ntasks=3 --ntasks-per-node=1"
grep -q requeue calls && failed "a job that reached its goal was queued again"

long() { # RUN OPTIONS OF SLURM...
  slurm "$1" --nodes 3 --tasks-per-node 2 "${@:2}" -- train "${options[@]}" --tp 2 \
    --train-iters 100000 --save-interval 10 || failed "slurm $1: $(cat log)"
}

# A node is gone: the ranks that are left go on from the last saved step, on two nodes.
long left --min-nodes 2
job left/slurm/left.sbatch &
batch=$! code=0
wait_for_saved left 10
wait_for_step left 15
echo n3 >dead
pkill -KILL -f "^switchyard train left .*" -o
for _ in $(seq 600); do grep -q "x dp 2" log && break; sleep 0.05; done
expect "two nodes" log "goes on from step" "2 of 3 nodes: n1,n2" "tp 2 x pp 1 x dp 2"
wait_for_step left "$(($(wc -l <left/metrics.jsonl) + 2))"
grep -Eq '"launch": ?"[^"]+".*"start": ?2' left/lease ||
  failed "the lease does not say which of its launcher's starts has it: $(cat left/lease)"
# USR1 to the batch script alone, as before a time limit.
pkill -USR1 -f "launch --srun .* train left "
wait $batch || code=$?
expect_code 75 "USR1"
expect "USR1" log "is requeued: exit code 75, stopped by a signal"
expect "USR1" calls "scontrol requeue"
rm -f dead

# All nodes are wanted where nothing else was said.
long all --restarts 2
job all/slurm/all.sbatch &
batch=$! code=0
wait_for_step all 5
echo n2 >down
pkill -KILL -f "^switchyard train all .*" -o
wait $batch || code=$?
expect_code 76 "too few nodes"
expect "too few nodes" log "at least 3 are needed" "is requeued: exit code 76"
rm -f down

# What comes again by itself is not queued again; neither is a job that was cancelled.
long wrong
sed -i 's/--save-interval 10/--save-interval x/' wrong/slurm/wrong.sbatch
code=0
job wrong/slurm/wrong.sbatch || code=$?
expect_code 2 "wrong use"
expect "wrong use" log "is not requeued: exit code 2"
long ended
JOB_STATE=COMPLETING job ended/slurm/ended.sbatch &
batch=$! code=0
wait_for_step ended 5
pkill -TERM -f "launch --srun .* train ended "
wait $batch || code=$?
expect_code 75 "cancelled"
expect "cancelled" log "is not requeued: exit code 75, stopped by a signal; Slurm itself ends the job"

# What passes one request on: a second signal within 2 seconds asks for nothing else. One rank stands
# still meanwhile, so that all have still to save when the second one comes.
asked() { # RUN FIRST SECOND SECONDS
  long "$1"
  job "$1/slurm/$1.sbatch" &
  batch=$! code=0
  wait_for_step "$1" 5
  pkill -STOP -f "^switchyard train $1 " -o
  pkill "-$2" -f "launch --srun .* train $1 "
  sleep "$4"
  pkill "-$3" -f "launch --srun .* train $1 "
  sleep 0.3
  pkill -CONT -f "^switchyard train $1 "
  wait $batch || code=$?
}
for pair in 'USR1 TERM' 'TERM TERM' 'INT TERM'; do
  # shellcheck disable=SC2086
  asked "once-${pair/ /-}" $pair 0.7
  expect_code 75 "$pair"
  expect "$pair" log "is requeued: exit code 75"
done
# Later it is a request of its own, by one who wants an end: 130 as without Slurm, and no requeue.
asked twice TERM TERM 2.2
expect_code 130 "a second signal"
expect "a second signal" log "Terminated: a second signal" "is not requeued: exit code 130"

# A command that has nothing to save: Slurm's signal before the time limit ends it, and the job is
# queued again. TERM is from one who wants an end.
score() { # SIGNAL MPI
  slurm run --tasks-per-node 2 --nodes 3 --mpi "$2" --script scored.sbatch -- eval --data-path data/long \
    --device cpu || failed "slurm eval: $(cat log)"
  job scored.sbatch &
  batch=$! code=0
  for _ in $(seq 200); do pgrep -f "^[^ ]*switchyard eval run " >/dev/null && break; sleep 0.02; done
  pkill "-$1" -f "launch --srun .* eval run "
  wait $batch || code=$?
}
for _ in $(seq 40); do cat text; done >long
"$program" tokenize --input long --output-prefix data/long >/dev/null 2>&1 || failed "no long set"
score USR1 none
expect_code 75 "USR1 to a score"
expect "USR1 to a score" log "is requeued: exit code 75, stopped by a signal"
expect "USR1 to a score" calls "scontrol requeue"
score TERM none
expect_code 130 "TERM to a score"
expect "TERM to a score" log "is not requeued: exit code 130"
# Also where it meets a node that is still starting.
for request in 'USR1 75' 'TERM 130'; do
  LATE=n3 score "${request% *}" none
  expect_code "${request#* }" "${request% *} to a score that starts"
  expect "${request% *} to a score that starts" log "exit code ${request#* }"
done
long in-start
LATE=n3 job in-start/slurm/in-start.sbatch &
batch=$! code=0
until pgrep -f "^[^ ]*switchyard train in-start " >/dev/null; do sleep 0.02; done
pkill -USR1 -f "launch --srun .* train in-start "
wait $batch || code=$?
expect_code 75 "USR1 to a start"
expect "USR1 to a start" log "is requeued: exit code 75, stopped by a signal"

# The last task of an array, whose number is the array's: it alone is asked for and queued again.
long last
# shellcheck disable=SC2016
sed -i 's/echo "job/SLURM_JOB_ID=$SLURM_ARRAY_JOB_ID; echo "job/' last/slurm/last.sbatch
SLURM_ARRAY_JOB_ID=900 SLURM_ARRAY_TASK_ID=2 job last/slurm/last.sbatch &
batch=$! code=0
wait_for_step last 5
pkill -USR1 -f "launch --srun .* train last "
wait $batch || code=$?
expect_code 75 "an array's task"
expect "an array's task" log "job 900_2 is requeued"
grep -qx "scontrol requeue 900_2" calls || failed "an array's task: $(cat calls)"

# The script of docs/slurm.md that does without: it saves, is queued again and hands the code on.
mkdir bin
ln -s "$program" bin/switchyard
PATH=$folder/bin:$PATH
"$program" launch -np 2 -- train runs/main "${options[@]}" --tp 2 --train-iters 8 --save-interval 4 \
  >log 2>&1 || failed "$(cat log)"
sed -n '/^    #SBATCH --signal/,/^    exit/s/^    //p' "$house/docs/slurm.md" |
  sed 's/--train-iters 3000/--train-iters 100000/' >plain
plain() { # STATE STEP: as it is asked to stop behind the step
  SLURM_NTASKS=2 JOB_STATE=$1 job plain &
  batch=$! code=0
  wait_for_step runs/main "$2"
  pkill -USR1 -x -f "bash plain"
  wait $batch || code=$?
  [[ $code == 143 ]] || expect_code 75 "in plain bash"  # of a rank that srun ended behind another's 75
}
plain COMPLETING 12
grep -q "scontrol requeue" calls && failed "in plain bash: a cancelled job is queued again"
from=$(sed -n 's/.*"step":\([0-9]*\),.*/\1/p' runs/main/metrics.jsonl | tail -1)
SLURM_ARRAY_JOB_ID=900 SLURM_ARRAY_TASK_ID=2 plain RUNNING $((from + 4))
expect "in plain bash" calls "scontrol requeue 900_2"
sed 's/srun .* &/sh -c "exit 134" \&/' plain >aborted
code=0
job aborted || code=$?
expect_code 134 "in plain bash, a fault"
expect "in plain bash, a fault" calls "scontrol requeue"

# The templates: a main path, branches as an array, scores.
export SWITCHYARD=$program SLURM_NTASKS_PER_NODE=2
code=0
job "$house/launch/slurm/train.sbatch" runs/chain "${options[@]}" --tp 2 --train-iters 6 \
  --save-interval 2 || code=$?
expect_code 0 train.sbatch
expect train.sbatch log "step 6/6" "x dp 3"
SLURM_ARRAY_TASK_ID=1 TRAIN_OPTIONS="--tp 2 --device cpu" \
  job "$house/launch/slurm/campaign.sbatch" runs/chain 8 2 4 || code=$?
expect_code 0 campaign.sbatch
expect campaign.sbatch log "step 12/12"
SLURM_ARRAY_TASK_ID=1 job "$house/launch/slurm/eval.sbatch" data/text runs/chain runs/chain-4 || code=$?
expect_code 0 eval.sbatch
expect eval.sbatch log '"loss":' chain-4
exit $((failures > 0))

#!/usr/bin/env bash
# test_campaign_slurm.sh PROGRAM HOUSE: a campaign as jobs of a queue (fake_slurm/): submitted as a
# whole, with arrays over seeds, carried out by a run that stays, killed and stopped on the way.
program=$1 house=$2
# shellcheck source-path=SCRIPTDIR source=shell_test
. "$(dirname "${BASH_SOURCE[0]}")/shell_test"
# shellcheck disable=SC2317
clean_up() {
  for job in "$folder"/queue/*/; do kill -KILL -- "-$(cat "$job/pid")"; done 2>/dev/null
  rm -rf "$folder"
}
mkdir bin queue
for name in sbatch squeue scontrol scancel sacct sinfo srun; do
  ln -s "$house/tests/tools/fake_slurm/slurm" "bin/$name"
done
export PATH=$folder/bin:$PATH FAKE_SLURM=$folder/queue FAKE_SLURM_MPIRUN=$house/launch/mpirun

has() { grep -q -- "$2" "$1" || failed "no '$2' in $1: $(cat "$1")"; }

for set in a b h; do
  for i in $(seq 400); do echo "$((i * i % 97)) of $set, "; done >text
  "$program" tokenize --input text --output-prefix "data/$set" >/dev/null 2>&1 || exit 1
done
campaign() { # FOLDER STEPS EXECUTOR-LINES...
  cat <<EOF
folder = "$1"
train = {num-layers = 1, hidden-size = 16, num-attention-heads = 2, seq-length = 16, global-batch-size = 4, lr = 1e-3, lr-warmup-iters = 2, save-interval = 10}
branch.share = 0.5
held-out.web = "data/h"
layout.main.ranks = 2
version = [{name = "v1", steps = $2, data-path = "data/a"}, {name = "v2", steps = $2, data-path = "data/b"}]
$3
EOF
}
slurm='executor = {kind = "slurm", jobs = 3, mpi = "pmix"}'
results() { (cd "$1" && for file in $(find results -name '*.json' | sort); do grep -o '"loss": *[0-9.]*' "$file"; done); }
await_empty() {
  for _ in $(seq 600); do
    [[ $(squeue) ]] || return 0
    sleep 0.1
  done
  failed "the queue does not empty: $(squeue; tail -n 5 queue/*/state)"
}

campaign 'plain' 20 'executor.launcher = "mpirun"' >plain.toml
"$program" campaign run plain.toml >log 2>&1 || failed "run here: $(cat log)"
[[ $(results plain | wc -l) == 2 ]] || failed "2 scores are wanted"

# As a whole, with nobody who waits.
campaign 'whole of it' 20 "$slurm" >whole.toml
"$program" campaign submit whole.toml --dry-run >log 2>&1 || failed "dry run: $(cat log)"
has log 'path-switching/v2@40: would be queued after main@30'
[[ ! -e queue/101 ]] || failed "a dry run has queued"
"$program" campaign submit whole.toml >log 2>&1 || failed "submit: $(cat log)"
"$program" campaign submit whole.toml >log 2>&1 || failed "submit again: $(cat log)"
has log 'in the queue as job'
await_empty
[[ $(results 'whole of it') == "$(results plain)" ]] || failed "scores differ: $(results 'whole of it')"
"$program" campaign submit whole.toml >log 2>&1 || failed "$(cat log)"
has log 'nothing is left to do'

# A score of one process that Slurm's signal ends: it is queued again; 75 where a `run` has forbidden it.
# shellcheck disable=SC2016
sed 's/^run "$program" eval [^>]*/run sleep 30 /' "whole of it/slurm/score/path-switching/v1/web.sbatch" >score.sbatch
grep -q 'run sleep' score.sbatch || failed "no score in $(cat score.sbatch)"
score_signalled() { # further words: the job may not be queued again
  score=$(sbatch score.sbatch)
  for _ in $(seq 100); do pgrep -g "$(cat "queue/$score/pid" 2>/dev/null)" -x sleep >/dev/null && break; sleep 0.05; done
  (($# == 0)) || scontrol update "JobId=$score" Requeue=0
  scancel --batch --signal=USR1 "$score"
}
score_signalled
for _ in $(seq 100); do [[ ! -s queue/$score/restarts ]] || break; sleep 0.05; done
has "queue/$score/restarts" '^1$'
scancel "$score"
score_signalled fixed
await_empty
has "queue/$score/code" '^75$'

# Seeds are tasks of arrays.
campaign 'seeds' 20 "$slurm" | sed '1i seeds = [1234, 7]' >seeds.toml
"$program" campaign submit seeds.toml >log 2>&1 || failed "seeds: $(cat log)"
has log 'main@10, 2 tasks'
"$program" campaign submit seeds.toml >log 2>&1 || failed "seeds again: $(cat log)"
has log 'seed-7/main@10: in the queue as job [0-9]*_1'
! grep -q ': job ' log || failed "queued twice: $(cat log)"
await_empty
[[ $(results seeds | wc -l) == 4 ]] || failed "4 scores are wanted: $(cat seeds/logs/*.log | tail -n 5)"

# A run that stays: killed, another takes its jobs over; stopped, they save; a rank that is lost.
campaign 'stays' 4000 "$slurm" >stays.toml
"$program" campaign run stays.toml >log 2>&1 & run=$!
for _ in $(seq 100); do [[ ! -s stays/main/metrics.jsonl ]] || break; sleep 0.1; done
kill -KILL "$run"
"$program" campaign run stays.toml >log 2>&1 & run=$!
sleep 1
pkill -KILL -n -f "^$program train $folder/stays/main" || failed "no rank runs"
for _ in $(seq 150); do ! grep -q 'restart 1' stays/logs/main.log || break; sleep 0.1; done
kill -USR1 "$run"
wait "$run"
[[ $? == 75 ]] || failed "not 75: $(cat log; tail -n 12 stays/logs/main.log)"
has log '1 jobs of this campaign are in the queue'
[[ ! $(squeue) ]] || failed "left in the queue: $(squeue)"
grep -q 'restart 1' stays/logs/main.log || failed "not requeued: $(cat stays/logs/main.log)"
sed -i 's/steps = 4000/steps = 20/g' stays.toml
sed -i 's/"stays"/"short"/' stays.toml
"$program" campaign run stays.toml >log 2>&1 || failed "run: $(cat log)"
[[ $(results short) == "$(results plain)" ]] || failed "scores of a run differ"

for bad in 'tasks-per-node = 0' 'mpi = "pmi2"' 'gpus = 2' 'time = ""' 'signal-seconds = -1' 'partition = "a\"b"'; do
  campaign 'bad' 20 "executor = {kind = \"slurm\", $bad}" >bad.toml
  "$program" campaign submit bad.toml >log 2>&1 && failed "taken: $bad"
  has log "bad.toml:[0-9]*: executor.${bad%% *}"
done
"$program" campaign submit plain.toml >log 2>&1 && failed "submit without Slurm"
has log 'kind = "slurm"'
((failures == 0)) && echo "a campaign is carried out by a queue"
exit $((failures > 0))

#!/usr/bin/env bash
# test_failing_rank.sh MPIRUN PROGRAM: a rank that fails must end the job soon, with its exit code.
# What the others say names the rank that is to blame, and stacks are left.
set -u
FAULTS_OF=$(mktemp -d)
export FAULTS_OF
trap 'rm -rf "$FAULTS_OF"' EXIT
touch "$FAULTS_OF/path.json"
mpirun=$1 program=$2 failures=0

expect() {  # HOW EXIT_CODE TEXT
  local begin=$SECONDS output code
  output=$(timeout 60 "$mpirun" -np 3 "$program" "$1" 2>&1)
  code=$?
  if [[ $2 == nonzero && $code == 0 ]] || [[ $2 != nonzero && $code != "$2" ]] ||
     [[ $output != *"$3"* ]] || ((SECONDS - begin > 30)); then
    echo "FAILED: $1 ended with $code after $((SECONDS - begin)) s; wanted $2 and: $3"
    echo "$output"
    failures=$((failures + 1))
  fi
}

expect none 0 ""
expect throw 1 "rank 1 fails"
expect unwind 1 "an exception ends this rank"
expect abort 42 ""
expect kill 76 "a rank was ended by SIGKILL"
expect kill 76 "world rank 1 on here is gone"
expect hang 77 'all_reduce (sum) of 4 f32, "losses", step 7: no end after 5000 ms'
expect hang 77 "nothing from world rank 1 on here, which is in no exchange ("
mkfifo "$FAULTS_OF/pipe"
expect disk 77 ", but in the system's read of $FAULTS_OF/pipe"
expect row 77 "nothing from world rank 2 on here; all wait for world rank 1 on here, which is in no exchange"
rm -r "$FAULTS_OF/faults"
expect stop 77 "nothing from world rank 1 on here, which does not answer"
expect stop 77 "; stacks in $FAULTS_OF/faults"
if ! grep -q "losses" "$FAULTS_OF"/faults/*-rank-0.txt || ! grep -q "^thread " "$FAULTS_OF"/faults/*-rank-2.txt; then
  echo "FAILED: stacks of ranks 0 and 2 are not in $FAULTS_OF/faults"
  failures=$((failures + 1))
fi
expect stop-and-term 76 "world rank 1 on here is silent since a signal asked to stop"
expect early 77 "MPI_Init and the first exchange: no end after 5000 ms (the timeout)"
exit $((failures > 0))

#!/usr/bin/env bash
# test_failing_rank.sh MPIRUN PROGRAM: a rank that fails must end the job soon, with its exit code.
set -u
mpirun=$1 program=$2 failures=0

expect() {  # HOW EXIT_CODE TEXT
  local begin=$SECONDS output code
  output=$(timeout 30 "$mpirun" -np 3 "$program" "$1" 2>&1)
  code=$?
  if [[ $2 == nonzero && $code == 0 ]] || [[ $2 != nonzero && $code != "$2" ]] ||
     [[ $output != *"$3"* ]] || ((SECONDS - begin > 10)); then
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
expect hang 76 'all_reduce (sum) of 4 f32, "losses", step 7: no end after 500 ms'
expect hang 76 "nothing from ranks [1"
exit $((failures > 0))

#!/usr/bin/env bash
# test_mpirun.sh LAUNCH: launch/mpirun starts the first mpirun of PATH that is none of ours, whatever
# links to it and other clones stand before. setpriv, which would start it, only says its name here.
# A signal that comes between the start of mpirun and its number's being noted is not forgotten. The
# codes of mpirun become those of docs/paths.md.
set -eu
launch=$1 failures=0
folder=$(readlink -e "$(mktemp -d)")
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder"/{tools,link,clone/launch,system}
printf '#!/bin/sh\necho "$3"\n' >"$folder/tools/setpriv"
printf '#!/bin/sh\n' >"$folder/system/mpirun"
ln -s "$launch/mpirun" "$folder/link/mpirun"
cp "$launch/mpirun" "$folder/clone/launch/mpirun"
chmod +x "$folder"/*/setpriv "$folder"/*/mpirun "$folder/clone/launch/mpirun"

export PATH=$folder/tools:$folder/link:$folder/clone/launch:$launch:$folder/system:$PATH
for script in "$launch/mpirun" "$folder/link/mpirun" "$folder/clone/launch/mpirun"; do
  chosen=$("$script" -np 1 true)
  if [[ $chosen != "$folder/system/mpirun" ]]; then
    echo "FAILED: $script chose '$chosen'"
    failures=$((failures + 1))
  fi
done

printf '#!/bin/sh\nsleep 10 >/dev/null 2>&1 &\nwait $!\n' >"$folder/tools/setpriv" # a rank below mpirun
for signal in USR1 TERM QUIT; do
  echo 'trap '\''[[ $BASH_COMMAND != "job=\$!" ]] || kill -'$signal' $$'\'' DEBUG' >"$folder/debug"
  code=0
  BASH_ENV=$folder/debug timeout 8 "$launch/mpirun" -np 1 true || code=$?
  if ((code != 130)); then
    echo "FAILED: $signal before mpirun is known ended with $code, not 130"
    failures=$((failures + 1))
  fi
done

# Ranks that a signal has ended are lost; what could not be started is an error that comes again.
for pair in 134:76 135:76 137:76 139:76 143:76 205:76 131:1 132:1 255:1 130:130 1:1 3:3 75:75 77:77; do
  printf '#!/bin/sh\nexit %s\n' "${pair%:*}" >"$folder/tools/setpriv"
  code=0
  said=$("$launch/mpirun" -np 1 true 2>&1) || code=$?
  if ((code != ${pair#*:})) || [[ ${pair%:*} == 139 && $said != *"a rank was ended by SIGSEGV"* ]]; then
    echo "FAILED: mpirun's ${pair%:*} is $code, not ${pair#*:}: $said"
    failures=$((failures + 1))
  fi
done
exit $((failures > 0))

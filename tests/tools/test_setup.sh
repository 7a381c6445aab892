#!/usr/bin/env bash
# test_setup.sh LAUNCH: launch/setup asks for what is missing, be it unknown to dpkg, known as not
# installed, or removed with its configuration left, and not for what one of two architectures has.
# A browser and h5py, for tests, are installed where apt knows them, and not asked for.
set -eu
launch=$1 failures=0
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cat >"$tools/dpkg-query" <<'TEXT'
#!/bin/sh
for package in "$@"; do :; done
case $package in
  xz-utils) printf 'not-installed ' ;;
  ninja-build) printf 'config-files ' ;;
  libfmt-dev) exit 1 ;;
  libhdf5-dev) printf 'installed not-installed ' ;;
  *) printf 'installed ' ;;
esac
TEXT
printf '#!/bin/sh\necho 1000\n' >"$tools/id"
printf '#!/bin/sh\nexit 1\n' >"$tools/sudo"
chmod +x "$tools"/*

code=0
said=$(PATH=$tools:$PATH "$launch/setup" 2>&1 </dev/null) || code=$?
if [[ $code != 1 || $said != *'--no-install-recommends ninja-build libfmt-dev xz-utils'* ]]; then
  echo "FAILED: exit code $code, it said: $said"
  failures=1
fi
# As root, with or without a browser and h5py in apt's lists. The installation fails, so that nothing is built.
printf '#!/bin/sh\necho 0\n' >"$tools/id"
printf '#!/bin/sh\necho "$@" >>%q; [ "$1" = update ]\n' "$tools/asked" >"$tools/apt-get"
sed -i 's/  xz-utils)/  chromium | python3-h5py | xz-utils)/' "$tools/dpkg-query"
chmod +x "$tools/apt-get"
for candidate in '156.0-1' '(none)'; do
  printf '#!/bin/sh\necho "  Candidate: %s"\n' "$candidate" >"$tools/apt-cache"
  chmod +x "$tools/apt-cache"
  rm -f "$tools/asked"
  PATH=$tools:$PATH "$launch/setup" >/dev/null 2>&1 </dev/null || true
  wanted='ninja-build libfmt-dev xz-utils'
  if [[ $candidate != '(none)' ]]; then wanted+=' chromium python3-h5py'; fi
  if [[ $(tail -n 1 "$tools/asked") != *"--no-install-recommends $wanted" ]]; then
    echo "FAILED: with the candidate $candidate it asked for: $(cat "$tools/asked")"
    failures=1
  fi
done
exit $failures

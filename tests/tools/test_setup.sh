#!/usr/bin/env bash
# test_setup.sh LAUNCH: launch/setup asks for what is missing, be it unknown to dpkg, known as not
# installed, or removed with its configuration left, and not for what one of two architectures has.
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
exit $failures

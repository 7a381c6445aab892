#!/usr/bin/env bash
# An installation works where it is moved to: test_install.sh BUILD_FOLDER
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$1" --prefix "$folder/made" > /dev/null
mv "$folder/made" "$folder/moved here"
cd "$folder/moved here"
for file in bin/switchyard bin/switchyard-mpirun share/man/man1/switchyard.1 \
            share/bash-completion/completions/switchyard share/zsh/site-functions/_switchyard \
            share/doc/switchyard/README.md share/doc/switchyard/docs/paths.md; do
  [ -s "$file" ] || { echo "$file is missing"; exit 1; }
done
if grep -rIl "$folder/made" .; then echo "files name the folder they were installed to"; exit 1; fi
PATH=$PWD/bin:$PATH
switchyard --help | grep -q '  train '
switchyard-mpirun -np 2 switchyard plan --help | grep -q -e --preset

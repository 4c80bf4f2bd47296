#!/bin/sh
# Writes the lists of expected failures anew from what fails now; look at the difference before committing it.
# Usage: update.sh FCC [FOLDER OF CASES]
set -eu
fcc=$1
cases=${2:-$(dpkg -L libonnx-testdata | sed -n 's,/node$,,p')}
here=$(cd "$(dirname "$0")" && pwd)
found=$(mktemp)
trap 'rm -f "$found"' EXIT

# write FILE HEADING OPTIONS...
write() {
  file=$here/$1 heading=$2
  shift 2
  "$fcc" test "$cases" --quiet "$@" > "$found" || true
  {
    echo "# $heading Written by update.sh; a listed case that passes fails the test."
    sed -n 's/^FAIL //p' "$found" | sed -f "$here/reasons.sed"
  } > "$file"
}
write expected_failures.txt "ONNX test cases that fail, and why."
write expected_failures_open_all.txt "Cases that fail only when all extents of the inputs are open." --open all \
  --expected-failures "$here/expected_failures.txt"

#!/bin/sh
# Writes expected_failures.txt anew from what fails now; look at the difference before committing it.
# Usage: update.sh FCC [FOLDER OF CASES]
set -eu
fcc=$1
cases=${2:-$(dpkg -L libonnx-testdata | sed -n 's,/node$,,p')}
here=$(cd "$(dirname "$0")" && pwd)
found=$(mktemp)
trap 'rm -f "$found"' EXIT
"$fcc" test "$cases" --quiet > "$found" || true
{
  echo "# ONNX test cases that fail, and why: written by update.sh. A listed case that passes fails the test."
  sed -n 's/^FAIL //p' "$found"
} > "$here/expected_failures.txt"
echo "$(grep -c '^[^#]' "$here/expected_failures.txt") expected failures" >&2

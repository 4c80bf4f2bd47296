#!/bin/sh
# Who may include whom: base <- ir <- {frontend, passes, backend} <- tools; the runtime only its own headers.
# LLVM stays in backend/llvm and backend/micro, protobuf and ONNX in frontend/onnx: that keeps a rebuild short.
# Usage: check_includes.sh TREE. Prints every include that breaks a rule; exit status 1 when there is one.
set -eu
cd "$1"
files=$(find ir frontend passes backend runtime tools -name '*.h' -o -name '*.hpp' -o -name '*.cc' -o -name '*.c' -o -name '*.def' 2>/dev/null | sort)
[ -n "$files" ] || { echo "no sources in $1"; exit 1; }
# shellcheck disable=SC2086
awk '
function starts(text, prefix) { return substr(text, 1, length(prefix)) == prefix }
function any(text, prefixes,   list, n, i) {
  n = split(prefixes, list, " ")
  for (i = 1; i <= n; ++i) if (starts(text, list[i])) return 1
  return 0
}
function allowed(file) {
  if (starts(file, "ir/base/")) return "ir/base/"
  if (starts(file, "ir/")) return "ir/"
  if (starts(file, "frontend/")) return "frontend/ ir/"
  if (starts(file, "passes/")) return "passes/ ir/"
  if (starts(file, "backend/")) return "backend/ ir/ fcc/model_abi.h"
  if (starts(file, "runtime/")) return "fcc/"
  return "tools/ frontend/ passes/ backend/ ir/ fcc/"
}
function refuse(why) { printf "%s:%d: %s: %s\n", FILENAME, FNR, $0, why; bad = 1 }
/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
  header = $0
  sub(/^[^<"]*[<"]/, "", header)
  sub(/[>"].*/, "", header)
  ++seen
  if (any(header, "llvm/ llvm-c/ lld/ clang/")) {
    if (!any(FILENAME, "backend/llvm/ backend/micro/")) refuse("LLVM headers belong in backend/llvm and backend/micro")
  } else if (any(header, "google/protobuf/ onnx/")) {
    if (!starts(FILENAME, "frontend/onnx/")) refuse("protobuf and ONNX headers belong in frontend/onnx")
  } else if (any(header, "ir/ frontend/ passes/ backend/ tools/ runtime/ tests/ fcc/") && !any(header, allowed(FILENAME))) {
    refuse("may only include " allowed(FILENAME))
  }
}
END {
  if (!seen) { print "no include seen: is this the source tree?"; bad = 1 }
  exit bad
}' $files

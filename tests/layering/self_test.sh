#!/bin/sh
# The check of the includes must fail when a rule is broken: one small tree a rule.
# Usage: self_test.sh CHECK_INCLUDES
set -eu
check=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
status=0

# try EXPECTED FILE INCLUDE
try() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree/$(dirname "$2")"
  printf '#include <vector>\n  #  include %s\n' "$3" > "$tree/$2"
  if sh "$check" "$tree" > /dev/null; then seen=accepted; else seen=refused; fi
  [ "$seen" = "$1" ] || { echo "$2 with $3 was $seen"; status=1; }
}

try refused  ir/base/check.h         '"ir/graph.h"'
try refused  ir/graph.cc             '"passes/manager.h"'
try refused  ir/graph.cc             '<llvm/IR/Value.h>'
try refused  frontend/onnx/a.cc      '"backend/schedule.h"'
try refused  frontend/digest.cc      '<google/protobuf/message.h>'
try refused  passes/graph/a.cc       '"frontend/onnx/import.h"'
try refused  passes/graph/a.cc       '"fcc/model_abi.h"'
try refused  backend/lower/a.cc      '"passes/manager.h"'
try refused  backend/lower/a.cc      '<llvm/IR/IRBuilder.h>'
try refused  backend/llvm/a.cc       '"fcc/fcc.h"'
try refused  backend/llvm/a.cc       '<onnx/onnx_pb.h>'
try refused  runtime/session.cc      '"ir/tensor.h"'
try refused  tools/fcc/main.cc       '<lld/Common/Driver.h>'
try refused  tools/fcc/main.cc       '"tests/abi/host.h"'
try accepted ir/graph.cc             '"ir/base/check.h"'
try accepted frontend/onnx/proto.h   '<onnx/onnx_pb.h>'
try accepted backend/llvm/a.cc       '<llvm/IR/Value.h>'
try accepted backend/llvm/a.cc       '"fcc/model_abi.h"'
try accepted runtime/session.cc      '"fcc/fcc.h"'
try accepted runtime/session.cc      '"pool.h"'
try accepted tools/fcc/main.cc       '"backend/llvm/link.h"'
rm -rf "${tree:?}"/*
if sh "$check" "$tree" > /dev/null; then echo "an empty tree was accepted"; status=1; fi
exit $status

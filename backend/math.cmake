# Vector math: elementary functions as LLVM IR. Its own archive, so that its tests need nothing else of the backend.
fcc_library(fcc_llvm_math
  SOURCES llvm/math.cc llvm/math_exp.cc llvm/math_log.cc llvm/math_trig.cc
  PUBLIC fcc_loop)
target_include_directories(fcc_llvm_math SYSTEM PUBLIC ${LLVM_INCLUDE_DIRS})

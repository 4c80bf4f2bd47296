# fcc test over the committed networks for one target, where this machine can run it. An instruction set can be capped
# but not invented: a loader that refuses a probe model names what is missing.
execute_process(COMMAND ${FCC} test ${MODELS}/linear_one.new_open --target ${TARGET} OUTPUT_VARIABLE probe ERROR_VARIABLE probe)
if(probe MATCHES "this (CPU|machine|processor)[^\n]*(lacks|has no|has not|does not)|needs [^\n]*, th(is|e) (CPU|machine)")
  message(STATUS "this machine has no ${TARGET}: ${probe}")
  return()
endif()
# ONNX's absolute tolerance of 1e-7 is meant for one operator. Errors of a network are relative to the largest magnitude of
# an output, here about 1 to 2 (docs/numerics.md), and Winograd's transform has up to three times those of a plain sum;
# elements near zero would ask for more digits than f32 has.
execute_process(COMMAND ${FCC} test ${MODELS} --quiet --atol 4e-6 --jobs 2 --target ${TARGET} --expected-failures ${FAILURES}
                RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "fcc test: exit ${status}")
endif()

#pragma once
// What goes into a model file, as plain C++: the tables of runtime/include/fcc/model_abi.h before they have
// addresses. The driver fills it, link.h writes it. Sizes are SymExprs; the writer decides which are numbers,
// which are symbols and which need the generated derive() function. Enumerators are those of model_abi.h.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fcc/model_abi.h"
#include "ir/loop/loop.h"
#include "ir/sym.h"
#include "ir/target.h"
#include "ir/tensor.h"
#include "ir/types.h"

namespace fcc {

struct ConstantImage {
  int64_t offset = 0;  // in the constants, a multiple of FCC_ALIGNMENT; ascending, not overlapping
  Tensor data;
};

struct StateImage {
  std::string name;
  TensorType type;     // static
  int64_t offset = 0;  // in the state arena
  int64_t init = -1;   // offset of the first value in the constants, or -1: zeros
  fcc_state_role role = FCC_STATE_PARAMETER;
};

struct SlotImage {
  std::string name;
  TensorType type;  // dims of an input are numbers or single symbols
};

struct SymbolImage {
  std::string name;
  bool defined_by_step = false;  // else by dim `axis` of input `input`
  uint32_t input = 0, axis = 0;
  int64_t min = 0, max = INT64_MAX;
};

struct BufferImage {
  SymExpr bytes;
  int64_t offset = -1;  // in the workspace when planned at compile time
  uint32_t first_step = 0, last_step = 0;
};

struct ArgImage {
  fcc_space space = FCC_BUFFER;
  uint32_t index = 0;
  int64_t offset = 0;  // bytes
};

struct StepImage {
  uint32_t kernel = 0;         // index into VariantImage::kernels
  std::vector<ArgImage> args;  // the kernel's parameters in order
  SymExpr tiles = 1, flops = 0, bytes = 0, work_ns = 0;
  std::string name, what;
  uint32_t flags = 0;  // fcc_step_flags
};

struct EntryImage {
  std::string name;
  std::vector<SlotImage> inputs, outputs;
  std::vector<SymbolImage> symbols;  // the order is that of symbols[]
  std::vector<BufferImage> buffers;
  std::vector<StepImage> steps;
  int64_t workspace_bytes = -1;  // of the compile-time plan, or -1 when sizes are open
};

// Kernels see symbols[] and faults of the entry that runs them: a kernel shared by entries needs both to agree, so
// kernels belong to one entry unless they use neither.
struct VariantImage {
  Target target;
  std::vector<loop::Kernel> kernels;
  std::vector<EntryImage> entries;
};

struct ModelImage {
  std::string producer = "fcc";
  std::string source_hash;
  std::string info_json;  // stored in .fcc_info, never loaded
  std::string source;     // stored in .fcc_source when not empty, never loaded: what export_onnx writes back
  std::vector<ConstantImage> constants;
  int64_t constants_bytes = 0;
  std::vector<StateImage> states;
  int64_t state_arena_bytes = 0;
  std::vector<VariantImage> variants;  // best first
};

}  // namespace fcc

#pragma once
// Compiles a loop kernel for an instruction set, runs it in this process on buffers that end at an unreadable page,
// and compares with the interpreter. Shared by the tests of this folder.
#include <map>
#include <string>
#include <vector>

#include "backend/llvm/link.h"
#include "backend/llvm/object.h"
#include "ir/loop/eval.h"
#include "ir/loop/loop.h"

namespace fcc::test {

// The x86 levels this host can run.
std::vector<Target> host_targets();

// A fresh file name in a folder of the build tree that goes away with the process.
std::string scratch_file(const std::string& name);

// An image with one entry of one step that runs the kernel over its n_params arguments.
ModelImage image_of(const loop::Kernel&, std::vector<Target>, const std::map<std::string, int64_t>& symbols = {});

class LoadedModel {
 public:
  explicit LoadedModel(const std::string& path);
  ~LoadedModel();
  LoadedModel(const LoadedModel&) = delete;
  const fcc_model& model() const { return *model_; }

 private:
  void* handle_ = nullptr;
  const fcc_model* model_ = nullptr;
};

struct RunResult {
  int32_t code = 0;
  std::map<std::string, int64_t> symbols;  // after the run
};

// Runs tiles [0, tiles) of the kernel in two ranges on copies of args that touch a page nobody may read, first at
// their end, then at their start, and copies the results back.
RunResult run(const loop::Kernel&, const Target&, std::vector<Tensor>& args,
              const std::map<std::string, int64_t>& symbols = {});

// Whether this machine can build and emulate AArch64 programs.
bool can_run_aarch64();
// The same in a static AArch64 program under an emulator, without the fences.
RunResult run_on_aarch64(const loop::Kernel&, std::vector<Tensor>& args,
                         const std::map<std::string, int64_t>& symbols = {});

// run() on every host target against the interpreter: floats within `ulps` of the larger of the value and `scale`
// (the size of intermediate sums), everything else exactly. With FCC_TEST_AARCH64 set, on AArch64 instead.
void expect_same(const loop::Kernel&, const std::vector<Tensor>& args,
                 const std::map<std::string, int64_t>& symbols = {}, double ulps = 4, double scale = 0);

// Instructions of innermost loops with multiply-adds that read or write the stack. A loop is what lies between a label
// and a jump back to it. Loops with fewer multiply-adds than this share of their lines are left out: with 0.3,
// register tiles are looked at and polynomials, which may keep constants anywhere, are not.
int stack_traffic_in_loops(const std::string& assembly, double least_share = 0);

// The least share of multiply-adds in the loop of a register tile; without fused ones each takes three instructions.
inline double tile_share(Isa isa) { return isa == Isa::x86_64_v2 ? 0.23 : 0.3; }

// Deterministic numbers: floats in [-4, 4], small ints, booleans.
Tensor random(DType, std::vector<int64_t> shape, uint32_t seed = 1);

}  // namespace fcc::test

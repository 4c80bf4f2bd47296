// One caller's use of a model: its bindings, the memory of its runs, and the state it trains.
//
// Entries of one model opened through sibling() share a SessionCore: the same weights, the same workspace, one call at
// a time. Slow work (shapes, plans, pointers) happens in prepare(), when a binding changed since the last run; run() on
// unchanged bindings goes straight to the steps. How tiles are shared is execution.h, where buffers go is planner.h.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "aligned_memory.h"
#include "binding.h"
#include "execution.h"
#include "library.h"
#include "pool.h"
#include "shape_plan.h"

namespace fcc::runtime {

// What siblings share.
struct SessionCore {
  std::shared_ptr<const Library> library;
  std::shared_ptr<Pool> pool;  // null: always alone
  uint32_t participants = 1;
  std::shared_ptr<AlignedMemory> state;  // of a snapshot: shared by its sessions, which only read it
  bool immutable = false;
  AlignedMemory workspace, scratch;
  std::vector<std::vector<int64_t>> state_dims;
  uint64_t memory_version = 0;  // changes when workspace or scratch moved
  std::atomic<bool> busy{false};

  void make_state(std::shared_ptr<AlignedMemory> given);
  void reset_state();
};

struct SessionOptions {
  uint32_t threads = 0;
  std::shared_ptr<Pool> pool;  // null: the one of the process
  const char* entry = nullptr;
  std::shared_ptr<AlignedMemory> snapshot;  // null: a state of its own
};

class Session final : private SymbolListener {
 public:
  static fcc_status create(std::shared_ptr<const Library> library, const SessionOptions& options,
                           std::unique_ptr<Session>* session);
  fcc_status sibling(const char* entry, std::unique_ptr<Session>* session) const;
  Session(std::shared_ptr<SessionCore> core, const fcc_entry& entry);

  fcc_status bind_input(uint32_t index, const fcc_tensor& tensor);
  fcc_status bind_flat_input(uint32_t index, uint32_t dtype, const void* data, int64_t elements);
  fcc_status bind_output(uint32_t index, uint32_t dtype, void* data, int64_t bytes);
  void unbind_inputs();  // so that the dims of flat data do not follow from an earlier batch
  fcc_status output_dims(uint32_t index, int64_t* dims);
  fcc_status run();
  fcc_status output(uint32_t index, fcc_tensor* tensor) const;
  // After a run that faulted: runs again up to that step, alone, and names the first step that made a NaN, else the
  // first that made an infinity, of finite values. Empty when none is found. Buffers have no types here: they are read
  // as f32.
  std::string first_nonfinite_step();

  fcc_status state(uint32_t index, fcc_tensor* tensor) const;
  fcc_status reset_state();
  void set_profile(bool on);
  fcc_step_profile step_profile(uint32_t step) const;
  fcc_session_stats stats() const;

  const fcc_entry& entry() const { return entry_; }
  const Library& library() const { return *core_->library; }
  const std::shared_ptr<SessionCore>& core() const { return core_; }

 private:
  struct Output {
    void* bound = nullptr;  // the caller's memory, else own
    int64_t room = 0;
    AlignedMemory own;
    std::vector<int64_t> dims;
    void* data = nullptr;
    int64_t bytes = 0;
  };

  fcc_status prepare();
  fcc_status find_plan();
  fcc_status check_all_bound() const;
  fcc_status place_outputs(uint32_t stage);
  fcc_status check_overlaps(uint32_t stage) const;
  void resolve_steps(uint32_t stage);
  void* resolve(const fcc_arg& arg) const;
  void schedule();
  void reserve_helpers();
  fcc_status symbols_defined(uint32_t step) override;
  fcc_status finish(const Execution::Outcome& outcome);
  bool known_before_run(const fcc_size& size) const;
  bool pool_is_hot() const;

  const std::shared_ptr<SessionCore> core_;
  const fcc_entry& entry_;
  const Stages stages_;
  std::vector<InputBinding> inputs_;
  std::vector<Output> outputs_;

  bool stale_ = true;  // a binding changed since prepare()
  bool ran_ = false;
  uint32_t faulted_step_ = 0;
  uint64_t memory_version_ = 0;
  PlanCache plans_;
  const ShapePlan* plan_ = nullptr;
  Sizes sizes_;                             // of the run under way
  std::vector<int64_t> resolved_symbols_;   // of prepare(), kept to avoid allocating
  std::vector<int64_t> flat_dims_;          // of bind_flat_input(), likewise
  std::vector<int64_t> offsets_;            // of all buffers, later stages included
  std::vector<AlignedMemory> late_arenas_;  // of stages 1, 2, ...
  std::vector<void*> args_;                 // of all steps, one after the other
  Execution execution_;
  std::vector<StepClock> clocks_;

  int64_t sharable_ns_ = 0;  // estimated work that helpers could take part in
  int64_t last_end_ns_ = 0;
  int64_t runs_ = 0, forked_runs_ = 0;
};

}  // namespace fcc::runtime

#include "session.h"

#include <algorithm>
#include <cstring>

#include "clock.h"
#include "text.h"
#include "topology.h"

namespace fcc::runtime {
namespace {

// When to share work; measured in docs/abi.md. A hot region costs well under a microsecond, a sleeping helper tens.
constexpr int64_t kSharedStepNs = 4'000;          // a step worth splitting
constexpr int64_t kChunkNs = 2'000;               // a chunk is worth claiming
constexpr int64_t kStreamChunkNs = 16'000;        // one that streams weights: taken over, they change caches
constexpr int64_t kHotForkNs = 20'000;            // sharable work of a run, helpers awake
constexpr int64_t kWakeNs = 100'000;              // left in a run, helpers fallen asleep
constexpr int64_t kColdForkNs = 200'000;          // helpers asleep
constexpr int64_t kLongestNs = int64_t{1} << 40;  // sums of estimates stay far from overflow
constexpr int64_t kChunksPerThread = 16;          // room to even out
// Weights that no private cache holds beside each other are read backwards in every other run.
constexpr int64_t kFarConstantsBytes = 512 << 10;
constexpr int64_t kPieceBytes = 64 << 10;

// Multiply-adds on few rows: the weights it reads, not the arithmetic, take the time.
bool streams_weights(const fcc_step& step, int64_t flops, int64_t bytes) {
  constexpr int64_t kFlopsPerByte = 8;
  if ((step.flags & FCC_STEP_MAY_FAULT) || flops > kFlopsPerByte * bytes) return false;
  return std::any_of(step.args, step.args + step.n_args, [](const fcc_arg& arg) { return arg.space == FCC_CONSTANT; });
}

// Room of one participant, a cache-line pair apart from the next.
int64_t scratch_stride(const fcc_entry& entry) {
  return (int64_t{entry.max_scratch_bytes} + 127) / 128 * 128;
}

class BusyLock {
 public:
  explicit BusyLock(std::atomic<bool>& busy) : busy_(busy), owns_(!busy.exchange(true, std::memory_order_acquire)) {}
  ~BusyLock() {
    if (owns_) busy_.store(false, std::memory_order_release);
  }
  explicit operator bool() const { return owns_; }

 private:
  std::atomic<bool>& busy_;
  bool owns_;
};

fcc_status busy_failure() {
  return fail(FCC_BUSY,
              "this session (or a sibling with the same state) is running in another thread\n"
              " hint: give each thread a session of its own; they share the library");
}

fcc_status choose_pool(const SessionOptions& options, SessionCore* core) {
  uint32_t threads = options.threads;
  if (threads > kMaxParticipants)
    return fail(FCC_BAD_ARGUMENT, "threads is %u, expected 0 to %u", threads, kMaxParticipants);
  if (threads == 1) return FCC_OK;
  core->pool = options.pool;
  if (core->pool == nullptr) {
    uint32_t usable = 0;  // reports nonsense in FCC_NUM_THREADS here, where there is someone to tell
    FCC_RETURN_IF_FAILED(default_threads(&usable));
    core->pool = process_pool();
  }
  core->participants = std::clamp<uint32_t>(threads ? threads : core->pool->threads(), 1, kMaxParticipants);
  if (core->participants == 1) core->pool = nullptr;
  return FCC_OK;
}

// What a snapshot's weights may be used for.
fcc_status check_snapshot_entry(const fcc_entry& entry) {
  if (std::strcmp(entry.name, "infer") == 0 || std::strcmp(entry.name, "evaluate") == 0) return FCC_OK;
  return fail(FCC_BAD_ARGUMENT,
              "a snapshot is immutable, and entry \"%s\" would change it\n"
              " hint: its entries are \"infer\" and \"evaluate\"; train with the trainer it came from",
              entry.name);
}

// The state of a compact library: its entry "prepare" run once, on the threads of the first session.
fcc_status prepared_state(const SessionCore& session, std::shared_ptr<AlignedMemory>* state) {
  const std::shared_ptr<const Library>& library = session.library;
  return library->prepared(
      [&](std::shared_ptr<AlignedMemory>* made) {
        const fcc_entry* entry = library->find_entry(FCC_PREPARE_ENTRY);
        if (entry == nullptr) return FCC_NOT_FOUND;
        auto core = std::make_shared<SessionCore>();
        core->library = library;
        core->pool = session.pool;
        core->participants = session.participants;
        core->state = std::make_shared<AlignedMemory>();
        core->state->ensure(library->model().state_arena_bytes);
        FCC_RETURN_IF_FAILED(Session(core, *entry).run());
        *made = core->state;
        return FCC_OK;
      },
      state);
}

}  // namespace

void SessionCore::make_state(std::shared_ptr<AlignedMemory> given) {
  const fcc_model& model = library->model();
  for (uint32_t i = 0; i < model.n_states; ++i) {
    std::vector<int64_t>& dims = state_dims.emplace_back();
    for (uint32_t axis = 0; axis < model.states[i].rank; ++axis) dims.push_back(model.states[i].dims[axis].value);
  }
  immutable = given != nullptr;
  state = std::move(given);
  if (immutable) return;
  state = std::make_shared<AlignedMemory>();
  state->ensure(model.state_arena_bytes);
  reset_state();
}

void SessionCore::reset_state() {
  const fcc_model& model = library->model();
  if (model.state_arena_bytes == 0) return;
  std::memset(state->data(), 0, static_cast<size_t>(model.state_arena_bytes));
  for (uint32_t i = 0; i < model.n_states; ++i)
    if (const fcc_state& row = model.states[i]; row.init >= 0 && row.bytes > 0)
      std::memcpy(state->data() + row.offset, model.constants + row.init, static_cast<size_t>(row.bytes));
}

fcc_status Session::create(std::shared_ptr<const Library> library, const SessionOptions& options,
                           std::unique_ptr<Session>* session) {
  const fcc_entry* entry = library->find_entry(options.entry);
  if (entry == nullptr) return FCC_NOT_FOUND;
  auto core = std::make_shared<SessionCore>();
  core->library = std::move(library);
  FCC_RETURN_IF_FAILED(choose_pool(options, core.get()));
  if (core->pool == nullptr) core->library->map_constants();  // several threads share the faults: nothing gained
  std::shared_ptr<AlignedMemory> given = options.snapshot;
  if (given == nullptr) FCC_RETURN_IF_FAILED(prepared_state(*core, &given));
  if (given != nullptr) FCC_RETURN_IF_FAILED(check_snapshot_entry(*entry));
  core->make_state(std::move(given));
  *session = std::make_unique<Session>(std::move(core), *entry);
  return FCC_OK;
}

fcc_status Session::sibling(const char* entry, std::unique_ptr<Session>* session) const {
  const fcc_entry* found = library().find_entry(entry);
  if (found == nullptr) return FCC_NOT_FOUND;
  if (core_->immutable) FCC_RETURN_IF_FAILED(check_snapshot_entry(*found));
  *session = std::make_unique<Session>(core_, *found);
  return FCC_OK;
}

Session::Session(std::shared_ptr<SessionCore> core, const fcc_entry& entry)
    : core_(std::move(core)),
      entry_(entry),
      stages_(entry),
      inputs_(entry.n_inputs),
      outputs_(entry.n_outputs),
      plans_(entry, stages_),
      resolved_symbols_(entry.n_symbols),
      offsets_(entry.n_buffers, kUnplaced),
      late_arenas_(stages_.count - 1) {
  for (uint32_t i = 0; i < entry.n_inputs; ++i) inputs_[i].dims.resize(entry.inputs[i].rank);
  for (uint32_t i = 0; i < entry.n_outputs; ++i) outputs_[i].dims.assign(entry.outputs[i].rank, -1);
  size_t n_args = 0;
  for (uint32_t i = 0; i < entry.n_steps; ++i) n_args += entry.steps[i].n_args;
  args_.resize(n_args);
  execution_.steps.resize(entry.n_steps);
  size_t at = 0;
  for (uint32_t i = 0; i < entry.n_steps; ++i) {
    execution_.steps[i] = {entry.steps[i].run, args_.data() + at, 0, 0, entry.steps[i].flags, 0, 1};
    at += entry.steps[i].n_args;
  }
  execution_.listener = this;
  execution_.scratch_stride = scratch_stride(entry);
}

fcc_status Session::bind_input(uint32_t index, const fcc_tensor& tensor) {
  FCC_RETURN_IF_FAILED(check_input(entry_, index, tensor));
  InputBinding& input = inputs_[index];
  std::copy_n(tensor.dims, tensor.rank, input.dims.begin());
  input.data = tensor.data;
  input.bound = true;
  stale_ = true;
  return FCC_OK;
}

fcc_status Session::bind_flat_input(uint32_t index, uint32_t dtype, const void* data, int64_t elements) {
  FCC_RETURN_IF_FAILED(infer_flat_dims(entry_, index, elements, inputs_, &flat_dims_));
  return bind_input(index, {const_cast<void*>(data), dtype, entry_.inputs[index].rank, flat_dims_.data(), nullptr});
}

fcc_status Session::bind_output(uint32_t index, uint32_t dtype, void* data, int64_t bytes) {
  if (data != nullptr) FCC_RETURN_IF_FAILED(check_output(entry_, index, dtype, data, bytes));
  outputs_[index].bound = data;
  outputs_[index].room = bytes;
  stale_ = true;
  return FCC_OK;
}

void Session::unbind_inputs() {
  for (InputBinding& input : inputs_) input.bound = false;
  stale_ = true;
}

fcc_status Session::run() {
  BusyLock lock(core_->busy);
  if (!lock) return busy_failure();
  if (stale_ || memory_version_ != core_->memory_version) FCC_RETURN_IF_FAILED(prepare());
  if (stages_.count > 1) sizes_ = plan_->sizes;  // what the last run defined is unknown again
  ++runs_;
  bool near_threshold = sharable_ns_ >= kHotForkNs && sharable_ns_ < kColdForkNs;
  bool fork = core_->participants > 1 && sharable_ns_ >= kHotForkNs && (!near_threshold || pool_is_hot());
  // Close to the threshold, waking pays only for the runs that follow: they find the helpers awake.
  execution_.worth_waking_ns = near_threshold ? 0 : kWakeNs;
  execution_.backwards = runs_ % 2 == 0;
  Execution::Outcome outcome = fork ? execution_.run_with(*core_->pool, core_->participants) : execution_.run_alone();
  if (near_threshold) last_end_ns_ = now_ns();
  forked_runs_ += outcome.forked;
  return finish(outcome);
}

// Helpers spin for a while after work, so a run that follows at once finds them awake, or wakes them for the next one.
bool Session::pool_is_hot() const {
  return now_ns() - last_end_ns_ < kWorkerSpinNs;
}

fcc_status Session::finish(const Execution::Outcome& outcome) {
  ran_ = outcome.status == FCC_OK;
  if (outcome.status != FCC_FAULT) return outcome.status;
  if (outcome.fault == 0) return outcome.status;  // the text is set already
  faulted_step_ = outcome.step;
  const fcc_step& step = entry_.steps[outcome.step];
  auto fault = static_cast<uint32_t>(outcome.fault) - 1;
  return fail(FCC_FAULT, "step %u \"%s\" (%s): %s", outcome.step, step.name, step.what,
              fault < entry_.n_faults ? entry_.faults[fault] : "a fault the model does not name");
}

std::string Session::first_nonfinite_step() {
  BusyLock lock(core_->busy);
  if (!lock || stages_.count > 1) return "";
  auto text = [&](uint32_t i) {
    return "step " + std::to_string(i) + " \"" + entry_.steps[i].name + "\" (" + entry_.steps[i].what + ")";
  };
  std::string first_infinite;
  for (uint32_t i = 0; i < faulted_step_; ++i) {
    const StepCall& call = execution_.steps[i];
    if (call.tiles > 0 && call.run(call.args, execution_.symbols, 0, call.tiles, execution_.scratch) != 0) return "";
    for (uint32_t a = 0; a < entry_.steps[i].n_args; ++a) {
      const fcc_arg& arg = entry_.steps[i].args[a];
      int64_t bytes = 0;
      if (arg.space == FCC_BUFFER) bytes = sizes_(entry_.buffers[arg.index].bytes);
      if (arg.space == FCC_OUTPUT && entry_.outputs[arg.index].dtype == FCC_F32) bytes = outputs_[arg.index].bytes;
      const auto* words = static_cast<const uint32_t*>(call.args[a]);
      for (int64_t k = 0; k < (bytes - arg.offset) / 4; ++k) {
        if ((words[k] & 0x7f800000u) != 0x7f800000u) continue;
        if ((words[k] & 0x007fffffu) != 0) return text(i);
        if (first_infinite.empty()) first_infinite = text(i);
      }
    }
  }
  return first_infinite;
}

fcc_status Session::check_all_bound() const {
  if (std::all_of(inputs_.begin(), inputs_.end(), [](const InputBinding& input) { return input.bound; })) return FCC_OK;
  std::string missing;
  for (uint32_t i = 0; i < entry_.n_inputs; ++i)
    if (!inputs_[i].bound)
      missing += (missing.empty() ? "\"" : ", \"") + std::string(entry_.inputs[i].name) + "\" " +
                 slot_text(entry_, entry_.inputs[i]);
  return fail(FCC_BAD_BUFFER, "not every input is bound; missing: %s\n hint: bind all inputs before the run",
              missing.c_str());
}

fcc_status Session::find_plan() {
  FCC_RETURN_IF_FAILED(check_all_bound());
  FCC_RETURN_IF_FAILED(resolve_symbols(entry_, inputs_, &resolved_symbols_));
  if (plan_ != nullptr && plan_->sizes.symbols == resolved_symbols_) return FCC_OK;
  plan_ = nullptr;
  return plans_.find(resolved_symbols_, &plan_);
}

// Everything that depends on what is bound: sizes, plan, memory, pointers.
fcc_status Session::prepare() {
  stale_ = true;
  ran_ = false;
  FCC_RETURN_IF_FAILED(find_plan());
  sizes_ = plan_->sizes;
  offsets_ = plan_->offsets;
  bool workspace_moved = core_->workspace.ensure(plan_->workspace_bytes);
  bool scratch_moved = core_->scratch.ensure(execution_.scratch_stride * core_->participants);
  if (workspace_moved || scratch_moved) ++core_->memory_version;
  execution_.symbols = sizes_.symbols.data();
  execution_.scratch = core_->scratch.data();
  FCC_RETURN_IF_FAILED(place_outputs(0));
  FCC_RETURN_IF_FAILED(check_overlaps(0));
  resolve_steps(0);
  schedule();
  reserve_helpers();
  memory_version_ = core_->memory_version;
  stale_ = false;
  return FCC_OK;
}

fcc_status Session::place_outputs(uint32_t stage) {
  for (uint32_t i = 0; i < entry_.n_outputs; ++i) {
    if (stages_.of_output[i] != stage) continue;
    const fcc_slot& slot = entry_.outputs[i];
    Output& output = outputs_[i];
    for (uint32_t axis = 0; axis < slot.rank; ++axis) {
      output.dims[axis] = sizes_(slot.dims[axis]);
      if (output.dims[axis] < 0)
        return fail(FCC_BAD_SHAPE, "output \"%s\" would have the size %lld in dimension %u", slot.name,
                    static_cast<long long>(output.dims[axis]), axis);
    }
    if (!dense_bytes(slot.dtype, slot.rank, output.dims.data(), &output.bytes))
      return fail(FCC_BAD_SHAPE, "output \"%s\" would be %s, larger than any memory", slot.name,
                  shape_text(slot.dtype, slot.rank, output.dims.data()).c_str());
    if (output.bound != nullptr) {
      FCC_RETURN_IF_FAILED(check_room(entry_, i, output.dims.data(), output.bytes, output.room));
      output.data = output.bound;
    } else {
      output.own.ensure(std::max<int64_t>(output.bytes, 1));  // an empty output still has an address
      output.data = output.own.data();
    }
  }
  return FCC_OK;
}

// Kernels write outputs while inputs are still read, so the two must not share memory.
fcc_status Session::check_overlaps(uint32_t stage) const {
  for (uint32_t i = 0; i < entry_.n_outputs; ++i) {
    if (outputs_[i].bound == nullptr || stages_.of_output[i] != stage) continue;
    Extent written{"output", entry_.outputs[i].name, outputs_[i].data, outputs_[i].bytes};
    for (uint32_t j = 0; j < entry_.n_inputs; ++j) {
      const fcc_slot& slot = entry_.inputs[j];
      int64_t bytes = 0;
      dense_bytes(slot.dtype, slot.rank, inputs_[j].dims.data(), &bytes);
      FCC_RETURN_IF_FAILED(check_disjoint(written, {"input", slot.name, inputs_[j].data, bytes}));
    }
    for (uint32_t j = 0; j < entry_.n_outputs; ++j) {
      bool placed = j != i && outputs_[j].bound != nullptr && stages_.of_output[j] <= stage;
      if (!placed) continue;
      FCC_RETURN_IF_FAILED(
          check_disjoint(written, {"output", entry_.outputs[j].name, outputs_[j].data, outputs_[j].bytes}));
    }
  }
  return FCC_OK;
}

void* Session::resolve(const fcc_arg& arg) const {
  switch (arg.space) {
    case FCC_CONSTANT:
      return const_cast<uint8_t*>(library().model().constants) + arg.offset;
    case FCC_STATE:
      return core_->state->data() + arg.offset;
    case FCC_INPUT:
      return static_cast<std::byte*>(const_cast<void*>(inputs_[arg.index].data)) + arg.offset;
    case FCC_OUTPUT:
      return static_cast<std::byte*>(outputs_[arg.index].data) + arg.offset;
    default:
      break;
  }
  uint32_t stage = entry_.buffers[arg.index].offset >= 0 ? 0 : stages_.of_buffer[arg.index];
  std::byte* base = stage == 0 ? core_->workspace.data() : late_arenas_[stage - 1].data();
  return base + offsets_[arg.index] + arg.offset;
}

// Pointers of the steps of one stage.
void Session::resolve_steps(uint32_t stage) {
  size_t at = 0;  // of the step's first argument
  for (uint32_t i = 0; i < entry_.n_steps; at += entry_.steps[i++].n_args) {
    if (stages_.of_step[i] != stage) continue;
    const fcc_step& step = entry_.steps[i];
    for (uint32_t a = 0; a < step.n_args; ++a) args_[at + a] = resolve(step.args[a]);
  }
}

// How each step is shared, from the sizes known now.
void Session::schedule() {
  const bool far_constants = library().model().constants_bytes >= kFarConstantsBytes;
  int64_t remaining = 0, all_work = 0;
  for (uint32_t i = entry_.n_steps; i-- > 0;) {
    const fcc_step& step = entry_.steps[i];
    StepCall& call = execution_.steps[i];
    call.tiles = sizes_(step.tiles);
    int64_t work = std::clamp<int64_t>(sizes_(step.work_ns), 0, kLongestNs);  // an estimate, possibly of unknown sizes
    bool shared =
        core_->participants > 1 && call.tiles > 1 && work >= kSharedStepNs && !(step.flags & FCC_STEP_DEFINES_SYMBOLS);
    if (shared) remaining += work;
    call.remaining_ns = remaining;
    all_work += work;
    int64_t bytes = std::max<int64_t>(sizes_(step.bytes), 0);
    bool streams = streams_weights(step, sizes_(step.flops), bytes);
    call.pieces =
        streams && far_constants ? std::clamp<int64_t>(bytes / kPieceBytes, 1, std::max<int64_t>(call.tiles, 1)) : 1;
    call.chunks = 0;
    if (!shared) continue;
    int64_t per_thread = work / core_->participants / (streams ? kStreamChunkNs : kChunkNs);
    per_thread = std::clamp<int64_t>(per_thread, 1, kChunksPerThread);
    call.chunks = static_cast<uint32_t>(std::min(call.tiles, core_->participants * per_thread));
  }
  sharable_ns_ = remaining;
  execution_.work_ns = all_work;
}

// Whether runs at this shape fork may depend on how closely they follow each other; threads start at the first.
void Session::reserve_helpers() {
  if (core_->participants > 1 && sharable_ns_ >= kHotForkNs) core_->pool->reserve(core_->participants);
}

fcc_status Session::symbols_defined(uint32_t step) {
  uint32_t stage = stages_.of_step[step] + 1;
  for (uint32_t i = 0; i < entry_.n_symbols; ++i)
    if (entry_.symbols[i].origin == 1) FCC_RETURN_IF_FAILED(check_defined_symbol(entry_, step, i, sizes_.symbols[i]));
  sizes_.derive(entry_);
  int64_t bytes = 0;
  FCC_RETURN_IF_FAILED(plans_.place_late(stage, sizes_, &offsets_, &bytes));
  late_arenas_[stage - 1].ensure(bytes);
  FCC_RETURN_IF_FAILED(place_outputs(stage));
  FCC_RETURN_IF_FAILED(check_overlaps(stage));
  resolve_steps(stage);
  schedule();
  reserve_helpers();
  return FCC_OK;
}

bool Session::known_before_run(const fcc_size& size) const {
  if (stages_.count == 1 || size.kind == FCC_SIZE_FIXED) return true;
  return size.kind == FCC_SIZE_SYMBOL && entry_.symbols[size.index].origin == 0;
}

fcc_status Session::output_dims(uint32_t index, int64_t* dims) {
  bool after_run = ran_ && !stale_;
  if (!after_run) {
    BusyLock lock(core_->busy);
    if (!lock) return busy_failure();
    FCC_RETURN_IF_FAILED(find_plan());
  }
  const fcc_slot& slot = entry_.outputs[index];
  const Sizes& sizes = after_run ? sizes_ : plan_->sizes;
  for (uint32_t axis = 0; axis < slot.rank; ++axis)
    dims[axis] = after_run || known_before_run(slot.dims[axis]) ? sizes(slot.dims[axis]) : -1;
  return FCC_OK;
}

fcc_status Session::output(uint32_t index, fcc_tensor* tensor) const {
  const fcc_slot& slot = entry_.outputs[index];
  if (!ran_ || stale_)
    return fail(FCC_BAD_ARGUMENT,
                "output \"%s\" has no value: there was no successful run since the last bind\n"
                " hint: read outputs after run",
                slot.name);
  const Output& output = outputs_[index];
  *tensor = {output.data, slot.dtype, slot.rank, output.dims.data(), nullptr};
  return FCC_OK;
}

fcc_status Session::state(uint32_t index, fcc_tensor* tensor) const {
  const fcc_state& row = library().model().states[index];
  *tensor = {core_->state->data() + row.offset, row.dtype, row.rank, core_->state_dims[index].data(), nullptr};
  return FCC_OK;
}

fcc_status Session::reset_state() {
  BusyLock lock(core_->busy);
  if (!lock) return busy_failure();
  if (core_->immutable) return fail(FCC_BAD_ARGUMENT, "a snapshot is immutable: its state cannot be reset");
  core_->reset_state();
  return FCC_OK;
}

void Session::set_profile(bool on) {
  clocks_.assign(on ? entry_.n_steps : 0, StepClock());
  execution_.clocks = on ? clocks_.data() : nullptr;
}

fcc_step_profile Session::step_profile(uint32_t step) const {
  const fcc_step& row = entry_.steps[step];
  bool sized = sizes_.symbols.size() == entry_.n_symbols && sizes_.derived.size() == entry_.n_derived;
  StepClock clock = clocks_.empty() ? StepClock() : clocks_[step];
  return {row.name, row.what, sized ? sizes_(row.flops) : 0, sized ? sizes_(row.bytes) : 0, clock.calls, clock.ns};
}

fcc_session_stats Session::stats() const {
  return {core_->workspace.bytes(),
          library().model().state_arena_bytes,
          plans_.plans_made(),
          runs_,
          forked_runs_,
          core_->participants,
          0};
}

}  // namespace fcc::runtime

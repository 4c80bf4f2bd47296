// One training run: the live state of a model and everything that is not arithmetic about moving it.
//
// The arithmetic (forward, loss, backward, update) is compiled; each entry is a Session on the same state. This class
// binds batches, sets the learning rate, notices what is not finite and puts the state back, keeps frozen parameters,
// counts, saves and resumes. It knows a training model by the names and roles of its states (docs/training.md). It
// serves one call at a time, like a session.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fcc/train.h"
#include "handles.h"
#include "training/safetensors.h"
#include "training/schedule.h"

namespace fcc::runtime {

// Most dimensions of a batch that is reshaped.
inline constexpr uint32_t kMostDims = 16;
// Whether a tensor of another rank has the slot's rows, such as [64,28,28] for f32[N,784]; dims are then those the slot
// wants, of slot.rank.
bool fit_rows(const fcc_slot& slot, const fcc_tensor& tensor, int64_t* dims);

class Trainer {
 public:
  static fcc_status create(const fcc_library& library, const SessionOptions& session, fcc_on_nonfinite on_nonfinite,
                           int64_t good_copy_steps, std::unique_ptr<Trainer>* trainer);

  fcc_status session(const char* entry, fcc_session** session);

  fcc_status step(const fcc_tensor* tensors, uint32_t count, double* loss);
  fcc_status predict(const fcc_tensor* tensors, uint32_t count);
  fcc_status evaluate(const fcc_tensor* tensors, uint32_t count, int64_t batch_rows, fcc_evaluation* evaluation);
  fcc_status gradients(const fcc_tensor* tensors, uint32_t count, double* loss);
  fcc_status apply();
  fcc_status clear_gradients();

  uint32_t groups() const { return static_cast<uint32_t>(rates_.size()); }
  double rate(uint32_t group) const;
  void set_rate(uint32_t group, double lr);
  fcc_status set_schedule(const std::string& text);
  void end_epoch(double metric);
  const fcc_training_progress& progress() const { return progress_; }

  fcc_status state(const char* name, fcc_tensor* tensor);
  fcc_status freeze(const char* pattern, bool frozen, uint32_t* count);
  fcc_status reinitialize(const char* pattern, const char* initializer, uint32_t* count);
  void set_seed(uint64_t seed);
  fcc_status snapshot(fcc_library** library);

  fcc_status save(const char* path);
  fcc_status resume(const char* path);
  fcc_status load_weights(const char* path);
  void set_note(const std::string& key, const char* value);
  const char* note(const std::string& key) const;
  fcc_status export_onnx(const char* path);

  std::atomic<bool>& busy() { return busy_; }

 private:
  struct Rate {
    uint32_t state;  // index of "hyper/lr..."
    double base;
  };
  struct Kept {  // a state and the value it is put back to
    uint32_t state;
    std::vector<std::byte> value;
  };
  struct Good {  // the last copy of the state known to be finite
    AlignedMemory state;
    bool valid = false;
    int64_t steps = 0;
    int64_t rollbacks = 0;  // to this copy
  };
  struct Entry {
    std::string name;
    std::unique_ptr<fcc_session> session;
  };

  explicit Trainer(const fcc_library& library) : library_(library.library) {}
  fcc_status open_entries(const SessionOptions& options);
  fcc_status find_rates();
  Session* find_entry(const char* name) const;
  fcc_status need(const char* entry, const char* compile_with, Session** session) const;

  const fcc_model& model() const { return library_->model(); }
  const fcc_state& row(uint32_t index) const { return model().states[index]; }
  std::byte* arena() const { return core_->state->data(); }
  std::byte* value_of(uint32_t index) const { return arena() + row(index).offset; }
  bool find_state(const std::string& name, uint32_t* index) const;

  fcc_status bind(Session& session, const fcc_tensor* tensors, uint32_t count);
  fcc_status run(Session& session, double* loss);
  void write_rates();
  void put_back(const std::vector<Kept>& kept);
  fcc_status copy_when_due();
  const char* first_nonfinite_state() const;
  fcc_status not_finite(const char* state, const fcc_tensor* tensors, uint32_t count);
  void roll_back();
  int64_t schedule_time() const;

  fcc_status matching(const char* pattern, std::vector<uint32_t>* states) const;
  std::vector<uint32_t> slots_of(uint32_t parameter) const;
  void capture(Kept* kept) const;
  SavedTensor saved(uint32_t index) const;
  fcc_status check_tensor(const char* path, const TensorFile& file, uint32_t index, const SavedTensor** tensor) const;
  fcc_status check_origin(const char* path, const TensorFile& file) const;
  std::map<std::string, std::string> metadata() const;
  fcc_status read_metadata(const char* path, const TensorFile& file);
  void forget_copies();

  const std::shared_ptr<const Library> library_;
  std::shared_ptr<SessionCore> core_;
  std::vector<Entry> entries_;
  Session *train_ = nullptr, *evaluate_ = nullptr, *infer_ = nullptr, *gradients_ = nullptr, *apply_ = nullptr;

  std::vector<Rate> rates_;
  Schedule schedule_;
  int64_t schedule_first_step_ = 0, schedule_first_epoch_ = 0;
  fcc_training_progress progress_{};
  uint64_t seed_ = 0;
  bool gradients_pending_ = false;

  fcc_on_nonfinite on_nonfinite_ = FCC_NONFINITE_STOP;
  int64_t good_copy_steps_ = 100;
  Good good_;
  int64_t steps_since_copy_ = 0;

  std::vector<Kept> frozen_;  // parameters and their slots
  std::map<std::string, std::string> notes_;
  std::atomic<bool> busy_{false};
};

}  // namespace fcc::runtime

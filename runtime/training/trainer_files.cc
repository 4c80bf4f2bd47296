// What a trainer does with its state as a whole: names and patterns, checkpoints, snapshots, export.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <regex>

#include "text.h"
#include "training/initialize.h"
#include "training/onnx_source.h"
#include "training/trainer.h"

namespace fcc::runtime {
namespace {

constexpr const char* kFormat = "fcc checkpoint 1";

std::string hex(uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

// Exact, and independent of the locale's decimal point as long as it is read back the same way.
std::string exact(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return hex(bits);
}

bool read_whole(const std::string* text, int64_t* value) {
  if (text == nullptr || text->empty() || text->size() > 18) return false;
  *value = 0;
  for (char c : *text) {
    if (c < '0' || c > '9') return false;
    *value = *value * 10 + (c - '0');
  }
  return true;
}

bool read_hex(const std::string* text, uint64_t* value) {
  int used = 0;
  return text != nullptr && text->size() == 16 && std::sscanf(text->c_str(), "%16" SCNx64 "%n", value, &used) == 1 &&
         used == 16;
}

std::string sibling_name(const std::string& name, const char* from, const char* to) {
  size_t n = std::strlen(from);
  if (name.size() < n || name.compare(name.size() - n, n, from) != 0) return "";
  return name.substr(0, name.size() - n) + to;
}

}  // namespace

// ---- names ----------------------------------------------------------------------------------------------------------

fcc_status Trainer::state(const char* name, fcc_tensor* tensor) {
  uint32_t index = 0;
  if (!find_state(name, &index))
    return fail(FCC_NOT_FOUND, "no state \"%s\"%s", name,
                name_help(name, model().n_states, [&](uint32_t i) { return row(i).name; }).c_str());
  return train_->state(index, tensor);
}

fcc_status Trainer::matching(const char* pattern, std::vector<uint32_t>* states) const {
  std::regex expression;
  try {
    expression.assign(pattern, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    return fail(FCC_BAD_ARGUMENT,
                "\"%s\" is no regular expression: %s\n hint: \"fc1\\\\..*\" matches fc1.weight and "
                "fc1.bias",
                pattern, error.what());
  }
  for (uint32_t i = 0; i < model().n_states; ++i)
    if (row(i).role == FCC_STATE_PARAMETER && std::regex_search(row(i).name, expression)) states->push_back(i);
  if (!states->empty()) return FCC_OK;
  std::string names;
  for (uint32_t i = 0; i < model().n_states && names.size() < 200; ++i)
    if (row(i).role == FCC_STATE_PARAMETER) names += std::string(names.empty() ? "\"" : ", \"") + row(i).name + "\"";
  return fail(FCC_NOT_FOUND, "no parameter matches \"%s\"\n hint: patterns are found anywhere in a name; there are: %s",
              pattern, names.c_str());
}

std::vector<uint32_t> Trainer::slots_of(uint32_t parameter) const {
  std::vector<uint32_t> slots;
  std::string prefix = std::string("optim/") + row(parameter).name + "/";
  for (uint32_t i = 0; i < model().n_states; ++i)
    if (row(i).role == FCC_STATE_SLOT && std::strncmp(row(i).name, prefix.c_str(), prefix.size()) == 0 &&
        std::strchr(row(i).name + prefix.size(), '/') == nullptr)
      slots.push_back(i);
  return slots;
}

fcc_status Trainer::freeze(const char* pattern, bool frozen, uint32_t* count) {
  std::vector<uint32_t> states;
  FCC_RETURN_IF_FAILED(matching(pattern, &states));
  if (count != nullptr) *count = static_cast<uint32_t>(states.size());
  for (size_t i = 0, n = states.size(); i < n; ++i)
    for (uint32_t slot : slots_of(states[i])) states.push_back(slot);
  for (uint32_t state : states) {
    auto known = std::find_if(frozen_.begin(), frozen_.end(), [&](const Kept& kept) { return kept.state == state; });
    if (!frozen && known != frozen_.end()) frozen_.erase(known);
    if (!frozen || known != frozen_.end()) continue;
    frozen_.push_back({state, std::vector<std::byte>(static_cast<size_t>(row(state).bytes))});
    capture(&frozen_.back());
  }
  return FCC_OK;
}

fcc_status Trainer::reinitialize(const char* pattern, const char* initializer, uint32_t* count) {
  std::vector<uint32_t> states;
  FCC_RETURN_IF_FAILED(matching(pattern, &states));
  uint32_t drawn = 0;
  for (uint32_t i : states) {
    InitTarget target{row(i).name, row(i).dtype, core_->state_dims[i], value_of(i), {}};
    uint32_t weight = 0;
    if (std::string name = sibling_name(row(i).name, "bias", "weight"); !name.empty() && find_state(name, &weight))
      target.weight_dims = core_->state_dims[weight];
    bool changed = false;
    FCC_RETURN_IF_FAILED(initialize(initializer, seed_, target, &changed));
    if (!changed) continue;
    ++drawn;
    for (uint32_t slot : slots_of(i)) std::memset(value_of(slot), 0, static_cast<size_t>(row(slot).bytes));
  }
  if (count != nullptr) *count = drawn;
  forget_copies();
  return FCC_OK;
}

// The state was changed from outside: frozen values are those of now, and the next step makes a new good copy.
void Trainer::forget_copies() {
  for (Kept& kept : frozen_) capture(&kept);
  good_.valid = false;
}

void Trainer::set_seed(uint64_t seed) {
  seed_ = seed;
  uint32_t index = 0;
  if (find_state("hyper/seed", &index) && row(index).bytes == 8) std::memcpy(value_of(index), &seed, 8);
}

fcc_status Trainer::snapshot(fcc_library** library) {
  auto copy = std::make_unique<fcc_library>();
  copy->library = library_;
  copy->snapshot = std::make_shared<AlignedMemory>();
  copy->snapshot->ensure(std::max<int64_t>(model().state_arena_bytes, 1));
  std::memcpy(copy->snapshot->data(), arena(), static_cast<size_t>(model().state_arena_bytes));
  *library = copy.release();
  return FCC_OK;
}

void Trainer::set_note(const std::string& key, const char* value) {
  if (value == nullptr)
    notes_.erase(key);
  else
    notes_[key] = value;
}

const char* Trainer::note(const std::string& key) const {
  auto found = notes_.find(key);
  return found == notes_.end() ? nullptr : found->second.c_str();
}

// ---- checkpoints ----------------------------------------------------------------------------------------------------

SavedTensor Trainer::saved(uint32_t index) const {
  return {row(index).name, row(index).dtype, core_->state_dims[index], value_of(index), row(index).bytes};
}

std::map<std::string, std::string> Trainer::metadata() const {
  std::map<std::string, std::string> m = {
      {"format", kFormat},
      {"source", model().source_hash},
      {"steps", std::to_string(progress_.steps)},
      {"epoch", std::to_string(progress_.epoch)},
      {"epoch_steps", std::to_string(progress_.epoch_steps)},
      {"skipped", std::to_string(progress_.skipped)},
      {"rolled_back", std::to_string(progress_.rolled_back)},
      {"seed", hex(seed_)},
      {"schedule", schedule_.text()},
      {"schedule.memory", schedule_.memory()},
      {"schedule.first_step", std::to_string(schedule_first_step_)},
      {"schedule.first_epoch", std::to_string(schedule_first_epoch_)},
  };
  for (size_t i = 0; i < rates_.size(); ++i) m["lr." + std::to_string(i)] = exact(rates_[i].base);
  for (const auto& [key, value] : notes_) m["note:" + key] = value;
  return m;
}

fcc_status Trainer::save(const char* path) {
  std::vector<SavedTensor> tensors;
  std::map<std::string, std::string> texts = metadata();
  for (uint32_t i = 0; i < model().n_states; ++i) {
    if (row(i).role == FCC_STATE_GRADIENT && !gradients_pending_) continue;
    tensors.push_back(saved(i));
    texts["hash:" + tensors.back().name] = hex(tensor_hash(tensors.back()));
  }
  return write_tensor_file(path, tensors, texts);
}

// The file's tensor for a state, when its type and shape are right.
fcc_status Trainer::check_tensor(const char* path, const TensorFile& file, uint32_t index,
                                 const SavedTensor** tensor) const {
  const SavedTensor wanted = saved(index);
  *tensor = file.find(wanted.name);
  if (*tensor == nullptr)
    return fail(FCC_BAD_FILE, "%s lacks tensor \"%s\"%s", path, wanted.name.c_str(),
                name_help(wanted.name, static_cast<uint32_t>(file.tensors.size()), [&](uint32_t i) {
                  return file.tensors[i].name.c_str();
                }).c_str());
  if ((*tensor)->dtype != wanted.dtype || (*tensor)->dims != wanted.dims)
    return fail(
        FCC_BAD_FILE, "%s: tensor \"%s\" is %s, the model wants %s\n hint: this file belongs to another network", path,
        wanted.name.c_str(),
        shape_text((*tensor)->dtype, static_cast<uint32_t>((*tensor)->dims.size()), (*tensor)->dims.data()).c_str(),
        shape_text(wanted.dtype, static_cast<uint32_t>(wanted.dims.size()), wanted.dims.data()).c_str());
  return FCC_OK;
}

fcc_status Trainer::check_origin(const char* path, const TensorFile& file) const {
  const std::string *format = file.text("format"), *source = file.text("source");
  if (format == nullptr || source == nullptr)
    return fail(FCC_BAD_FILE,
                "%s is a safetensors file but no checkpoint of fcc: it tells no format or source\n"
                " hint: to start from its weights, load them (fcc fit --weights FILE) instead of resuming",
                path);
  if (*format != kFormat)
    return fail(FCC_BAD_FILE, "%s has the format \"%s\", this release knows \"%s\"", path, format->c_str(), kFormat);
  if (*source != model().source_hash)
    return fail(FCC_BAD_FILE,
                "%s is a checkpoint of another model: its source has the hash %.12s..., this one %.12s...\n"
                " hint: compile the model it was made with, or load only the weights (fcc fit --weights FILE)",
                path, source->c_str(), model().source_hash);
  for (const SavedTensor& tensor : file.tensors) {
    uint32_t index = 0;
    uint64_t expected = 0;
    if (!find_state(tensor.name, &index))
      return fail(FCC_BAD_FILE,
                  "%s holds tensor \"%s\", which the model has not\n"
                  " hint: it was saved by a model compiled with another optimizer; load only the weights",
                  path, tensor.name.c_str());
    if (!read_hex(file.text("hash:" + tensor.name), &expected) || expected != tensor_hash(tensor))
      return fail(FCC_BAD_FILE,
                  "%s: the values of tensor \"%s\" are not those that were saved\n"
                  " hint: the file was damaged or edited; use an older checkpoint",
                  path, tensor.name.c_str());
  }
  return FCC_OK;
}

// Into this object, which the caller has made sure of; false texts are refused before anything changes.
fcc_status Trainer::read_metadata(const char* path, const TensorFile& file) {
  fcc_training_progress progress{};
  int64_t first_step = 0, first_epoch = 0;
  uint64_t seed = 0;
  Schedule schedule;
  std::vector<Rate> rates = rates_;
  auto whole = [&](const char* key, int64_t* value) { return read_whole(file.text(key), value); };
  const std::string *text = file.text("schedule"), *memory = file.text("schedule.memory");
  bool sound = whole("steps", &progress.steps) && whole("epoch", &progress.epoch) &&
               whole("epoch_steps", &progress.epoch_steps) && whole("skipped", &progress.skipped) &&
               whole("rolled_back", &progress.rolled_back) && whole("schedule.first_step", &first_step) &&
               whole("schedule.first_epoch", &first_epoch) && read_hex(file.text("seed"), &seed) && text && memory;
  for (size_t i = 0; sound && i < rates.size(); ++i) {
    uint64_t bits = 0;
    sound = read_hex(file.text("lr." + std::to_string(i)), &bits);
    std::memcpy(&rates[i].base, &bits, sizeof bits);
  }
  if (sound) FCC_RETURN_IF_FAILED(Schedule::parse(*text, &schedule));
  if (!sound || !schedule.remember(*memory))
    return fail(FCC_BAD_FILE, "%s: its metadata is damaged\n hint: use an older checkpoint", path);
  progress_ = progress;
  schedule_first_step_ = first_step;
  schedule_first_epoch_ = first_epoch;
  seed_ = seed;
  schedule_ = std::move(schedule);
  rates_ = std::move(rates);
  notes_.clear();
  for (const auto& [key, value] : file.metadata)
    if (key.compare(0, 5, "note:") == 0) notes_[key.substr(5)] = value;
  return FCC_OK;
}

fcc_status Trainer::resume(const char* path) {
  TensorFile file;
  FCC_RETURN_IF_FAILED(read_tensor_file(path, &file));
  FCC_RETURN_IF_FAILED(check_origin(path, file));
  std::vector<std::pair<uint32_t, const SavedTensor*>> found;
  bool pending = false;
  for (uint32_t i = 0; i < model().n_states; ++i) {
    bool gradient = row(i).role == FCC_STATE_GRADIENT;
    if (gradient && file.find(row(i).name) == nullptr) continue;
    pending = pending || gradient;
    FCC_RETURN_IF_FAILED(check_tensor(path, file, i, &found.emplace_back(i, nullptr).second));
  }
  FCC_RETURN_IF_FAILED(read_metadata(path, file));
  clear_gradients();
  for (const auto& [index, tensor] : found)
    std::memcpy(value_of(index), tensor->data, static_cast<size_t>(tensor->bytes));
  gradients_pending_ = pending;
  forget_copies();
  return FCC_OK;
}

fcc_status Trainer::load_weights(const char* path) {
  TensorFile file;
  FCC_RETURN_IF_FAILED(read_tensor_file(path, &file));
  std::vector<std::pair<uint32_t, const SavedTensor*>> found;
  for (uint32_t i = 0; i < model().n_states; ++i)
    if (row(i).role == FCC_STATE_PARAMETER || row(i).role == FCC_STATE_BUFFER)
      FCC_RETURN_IF_FAILED(check_tensor(path, file, i, &found.emplace_back(i, nullptr).second));
  for (const auto& [index, tensor] : found)
    std::memcpy(value_of(index), tensor->data, static_cast<size_t>(tensor->bytes));
  forget_copies();
  return FCC_OK;
}

fcc_status Trainer::export_onnx(const char* path) {
  auto value = [this](const std::string& name, int64_t bytes) -> const void* {
    uint32_t index = 0;
    return find_state(name, &index) && row(index).bytes == bytes ? value_of(index) : nullptr;
  };
  return runtime::export_onnx(library_->path(), model().source_hash, value, path);
}

}  // namespace fcc::runtime

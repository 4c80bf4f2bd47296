// A loaded model.so: the file, its tables, and the variant this CPU runs.
// Immutable once open and shared by sessions, which keep it loaded. It checks everything that can be checked without
// running a kernel, so that sessions may index the tables without looking again.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "aligned_memory.h"
#include "error.h"

namespace fcc::runtime {

class Library {
 public:
  static fcc_status open(const char* path, std::shared_ptr<const Library>* library);
  static fcc_status from_query(fcc_model_query_fn query, std::shared_ptr<const Library>* library);
  Library() = default;
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const std::string& path() const { return path_; }  // "the linked model" when there is no file
  const fcc_model& model() const { return *model_; }
  const fcc_variant& variant() const { return *variant_; }
  // Null name: the first entry. Null result, with text, when there is no such entry.
  const fcc_entry* find_entry(const char* name) const;
  // The state of a compact library, made by the first who asks: `make` fills it. Null, and nothing called, for others.
  using MakeState = std::function<fcc_status(std::shared_ptr<AlignedMemory>*)>;
  fcc_status prepared(const MakeState& make, std::shared_ptr<AlignedMemory>* state) const;
  // Maps the constants' pages in one call, once: a session of one thread would otherwise fault for every few of them.
  void map_constants() const;

 private:
  fcc_status load();
  fcc_status adopt(fcc_model_query_fn query);
  fcc_status choose_variant();

  std::string path_;  // for messages; "the linked model" when there is no file
  void* handle_ = nullptr;
  int file_ = -1;  // kept open only for a file that replaced a loaded one, see load()
  const fcc_model* model_ = nullptr;
  const fcc_variant* variant_ = nullptr;
  mutable std::atomic<bool> mapped_{false};
  mutable std::mutex preparing_;
  mutable std::shared_ptr<AlignedMemory> prepared_;  // set once, under the lock
};

}  // namespace fcc::runtime

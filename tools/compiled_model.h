#pragma once
// A compiled model in use: the runtime's C interface in the tools' terms, Tensors in and out, sentences for faults.
//
// Programs use fcc.hpp; the tools need Tensor, Diagnostic and a look at every table, so they stand on fcc.h itself.
#include <memory>
#include <string>
#include <vector>

#include "fcc/fcc.h"
#include "ir/tensor.h"

namespace fcc {

struct ModelOptions {
  int threads = 0;    // 0: the runtime's default
  std::string entry;  // "": the first
};

class CompiledModel {
 public:
  static Result<CompiledModel> open(const std::string& path, const ModelOptions& options = {});

  const fcc_model& model() const { return *fcc_library_model(library_.get()); }
  const fcc_variant& variant() const { return *fcc_library_variant(library_.get()); }
  const fcc_entry& table() const { return *fcc_session_table(session_.get()); }
  fcc_session* session() const { return session_.get(); }
  std::vector<std::string> input_names() const;
  std::vector<std::string> output_names() const;

  // bind + call + copies of the outputs, all in table order. Inputs must outlive later call()s.
  Status bind(std::span<const Tensor> inputs);
  Status call();
  Result<std::vector<Tensor>> outputs() const;
  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs);

 private:
  struct CloseLibrary {
    void operator()(fcc_library* l) const { fcc_library_close(l); }
  };
  struct CloseSession {
    void operator()(fcc_session* s) const { fcc_session_close(s); }
  };
  struct ReleasePool {
    void operator()(fcc_pool* p) const { fcc_pool_release(p); }
  };
  std::unique_ptr<fcc_library, CloseLibrary> library_;
  std::unique_ptr<fcc_pool, ReleasePool> pool_;
  std::unique_ptr<fcc_session, CloseSession> session_;
};

// f32[N,784] of a slot, open dimensions by name.
std::string slot_text(const fcc_entry& entry, const fcc_slot& slot);
// One dimension: a number or the symbol's name; "?" when derived from others.
std::string size_text(const fcc_entry& entry, const fcc_size& size);

}  // namespace fcc

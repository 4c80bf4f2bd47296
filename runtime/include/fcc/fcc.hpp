// Running a compiled model from C++17, with nothing but the standard library and fcc.h.
//
//   fcc::Model model("net.so");
//   auto session = model.session();
//   auto y = session.run({{"x", pixels}});              // any vector, array or span; dims follow from the model
//   for (float p : y["logits"].as<float>()) ...
//
// and when microseconds count, bind once and run many times without a single allocation:
//
//   session.bind_input("x", x.data(), {64, 784});
//   session.bind_output("logits", logits);
//   for (;;) session.run();
//
// Failures are fcc::Error, whose what() says what was seen, what was expected and what to do.
// A Model may be used from any number of threads; a Session serves one at a time. Header-only, so it can be mixed with
// any compiler; it is not the compiler's own API.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fcc/fcc.h"

namespace fcc {

class Error : public std::runtime_error {
 public:
  Error(fcc_status code, const char* text) : std::runtime_error(text), code_(code) {}
  fcc_status code() const { return code_; }

 private:
  fcc_status code_;
};

namespace detail {

inline void check(fcc_status status) {
  if (status != FCC_OK) throw Error(status, fcc_error_text());
}

template <class T>
constexpr uint32_t dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, bool>)
    return FCC_BOOL;
  else if constexpr (std::is_same_v<U, float>)
    return FCC_F32;
  else if constexpr (std::is_same_v<U, double>)
    return FCC_F64;
  else if constexpr (std::is_integral_v<U> && sizeof(U) == 1)
    return std::is_signed_v<U> ? FCC_I8 : FCC_U8;
  else if constexpr (std::is_integral_v<U> && sizeof(U) == 2)
    return std::is_signed_v<U> ? FCC_I16 : FCC_U16;
  else if constexpr (std::is_integral_v<U> && sizeof(U) == 4)
    return std::is_signed_v<U> ? FCC_I32 : FCC_U32;
  else if constexpr (std::is_integral_v<U> && sizeof(U) == 8)
    return std::is_signed_v<U> ? FCC_I64 : FCC_U64;
  else
    static_assert(!sizeof(U*), "not an element type of tensors");
}

// uint16_t carries the bits of float16 and bfloat16, and bytes those of bool, for want of standard types.
constexpr uint32_t carried_dtype(uint32_t given, uint32_t slot) {
  bool half = given == FCC_U16 && (slot == FCC_F16 || slot == FCC_BF16);
  bool truth = given == FCC_U8 && slot == FCC_BOOL;
  return half || truth ? slot : given;
}

template <class Container>
using ElementOf = std::remove_pointer_t<decltype(std::declval<Container&>().data())>;

// Does an expression of this type own elements that die with it? A view's data() is the same when the view is const;
// an owner's is not.
template <class Expression, class Container = std::remove_cv_t<std::remove_reference_t<Expression>>>
constexpr bool dies_with_elements =
    !std::is_lvalue_reference_v<Expression> &&
    !std::is_same_v<decltype(std::declval<Container&>().data()), decltype(std::declval<const Container&>().data())>;

}  // namespace detail

// A borrowed run of elements, as std::span is in C++20.
template <class T>
class Span {
 public:
  Span(T* data, size_t size) : data_(data), size_(size) {}
  T* data() const { return data_; }
  size_t size() const { return size_; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_;
  size_t size_;
};

// Input data, borrowed. Without dims they follow from the model, when at most one dimension is open.
class View {
 public:
  template <class Container, class = std::enable_if_t<!std::is_base_of_v<View, std::decay_t<Container>>>,
            class = detail::ElementOf<Container>>
  View(Container&& data, std::vector<int64_t> dims = {})
      : View(data.data(), static_cast<int64_t>(data.size()), std::move(dims)) {
    temporary_ = detail::dies_with_elements<Container>;
  }
  template <class T>
  View(const T* data, std::vector<int64_t> dims)
      : data_(data), elements_(product(dims)), dtype_(detail::dtype_of<T>()), dims_(std::move(dims)) {}

  const void* data() const { return data_; }
  int64_t elements() const { return elements_; }
  uint32_t dtype() const { return dtype_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  bool temporary() const { return temporary_; }  // gone at the end of the statement: good for run(), not for bind

 private:
  template <class T>
  View(const T* data, int64_t elements, std::vector<int64_t> dims)
      : data_(data), elements_(elements), dtype_(detail::dtype_of<T>()), dims_(std::move(dims)) {
    if (!dims_.empty() && product(dims_) != elements_)
      throw Error(FCC_BAD_SHAPE, ("the dims given hold " + std::to_string(product(dims_)) + " elements, the data has " +
                                  std::to_string(elements_))
                                     .c_str());
  }
  static int64_t product(const std::vector<int64_t>& dims) {
    int64_t elements = 1;
    for (int64_t dim : dims) elements *= dim;
    return elements;
  }

  const void* data_;
  int64_t elements_;
  uint32_t dtype_;
  std::vector<int64_t> dims_;
  bool temporary_ = false;
};

// The value of an output or a state: dense, row-major. Valid as long as the memory behind it, see Session.
class Values {
 public:
  explicit Values(const fcc_tensor& tensor) : tensor_(tensor) {}
  uint32_t dtype() const { return tensor_.dtype; }
  size_t rank() const { return tensor_.rank; }
  int64_t dim(size_t axis) const { return tensor_.dims[axis]; }
  std::vector<int64_t> dims() const { return {tensor_.dims, tensor_.dims + tensor_.rank}; }
  size_t size() const {
    int64_t elements = 1;
    for (uint32_t i = 0; i < tensor_.rank; ++i) elements *= tensor_.dims[i];
    return static_cast<size_t>(elements);
  }
  void* data() const { return tensor_.data; }
  size_t bytes() const { return size() * static_cast<size_t>(fcc_dtype_bytes(tensor_.dtype)); }

  // The elements; refuses another type than the tensor has (uint16_t reads float16 and bfloat16 as bits).
  template <class T>
  Span<T> as() const {
    uint32_t wanted = detail::carried_dtype(detail::dtype_of<T>(), tensor_.dtype);
    if (wanted != tensor_.dtype)
      throw Error(FCC_BAD_DTYPE, (std::string("the tensor holds ") + fcc_dtype_name(tensor_.dtype) + ", asked for " +
                                  fcc_dtype_name(wanted))
                                     .c_str());
    return Span<T>(static_cast<T*>(tensor_.data), size());
  }
  template <class T>
  std::vector<T> copy() const {
    auto elements = as<T>();
    return std::vector<T>(elements.begin(), elements.end());
  }

 private:
  fcc_tensor tensor_;
};

// An input, output or state: by name or by index.
class Key {
 public:
  Key(const char* name) : name_(name) {}
  Key(const std::string& name) : name_(name.c_str()) {}
  template <class Index, class = std::enable_if_t<std::is_integral_v<Index>>>
  Key(Index index) : index_(static_cast<uint32_t>(index)) {}

  // find is one of fcc_session_find_input, _output, _state.
  template <class Find>
  uint32_t index(const fcc_session* session, Find find) const {
    uint32_t index = index_;
    if (name_ != nullptr) detail::check(find(session, name_, &index));
    return index;
  }

 private:
  const char* name_ = nullptr;  // null: by index
  uint32_t index_ = 0;
};

// Threads to run on. By default all sessions of a process share one pool; these are for programs that want another.
class Pool {
 public:
  // Threads of the runtime's own; 0: as many as this process may use.
  explicit Pool(uint32_t threads = 0) {
    fcc_pool* pool = nullptr;
    detail::check(fcc_pool_create(threads, &pool));
    handle_.reset(pool, fcc_pool_release);
  }
  // The program's own threads, see fcc_host_pool.
  explicit Pool(const fcc_host_pool& host) {
    fcc_pool* pool = nullptr;
    detail::check(fcc_pool_from_host(&host, &pool));
    handle_.reset(pool, fcc_pool_release);
  }
  fcc_pool* handle() const { return handle_.get(); }

 private:
  std::shared_ptr<fcc_pool> handle_;
};

struct SessionOptions {
  uint32_t threads = 0;  // 0: the pool's size; 1: only the calling thread. Results are the same bits for any value
  const Pool* pool = nullptr;   // null: the one of the process
  const char* entry = nullptr;  // null: the model's first, usually "infer"
};

class Session;

// The outputs of a run, by name or index. Values in memory of the runtime are valid until the session's next run.
class Outputs {
 public:
  explicit Outputs(const Session& session) : session_(&session) {}
  Values operator[](const Key& key) const;
  size_t size() const;

 private:
  const Session* session_;
};

// State and workspace of one model, for one call at a time. Movable; closes itself.
class Session {
 public:
  using NamedInputs = std::initializer_list<std::pair<Key, View>>;

  // ---- convenient: bind and run. The bindings stay, so data that dies after the call must be bound again.
  Outputs run(NamedInputs inputs) {
    for (const auto& [key, view] : inputs) bind_view(key, view);
    return run();
  }
  // ---- fast: bind once, run many. The memory stays the caller's and must outlive the runs.
  void bind_input(const Key& key, const View& view) {
    if (view.temporary())
      throw Error(FCC_BAD_BUFFER,
                  "the data bound is a temporary, gone before the run\n"
                  " hint: keep it in a variable, or pass it to run({{name, data}})");
    bind_view(key, view);
  }
  template <class T>
  void bind_input(const Key& key, const T* data, std::initializer_list<int64_t> dims) {
    bind_input(key, View(data, std::vector<int64_t>(dims)));
  }
  // Memory for an output: a vector, array or span of the right element type, with room enough.
  template <class Container, class = detail::ElementOf<Container>>
  void bind_output(const Key& key, Container&& memory) {
    static_assert(!detail::dies_with_elements<Container>, "the memory bound is a temporary: keep it in a variable");
    bind_output(key, memory.data(), memory.size());
  }
  template <class T>
  void bind_output(const Key& key, T* data, size_t elements) {
    uint32_t index = output_index(key);
    uint32_t slot = index < table().n_outputs ? table().outputs[index].dtype : 0u;
    uint32_t dtype = detail::carried_dtype(detail::dtype_of<T>(), slot);
    detail::check(
        fcc_session_bind_output(handle_.get(), index, dtype, data, static_cast<int64_t>(elements * sizeof(T))));
  }
  // Back to memory of the runtime.
  void unbind_output(const Key& key) {
    detail::check(fcc_session_bind_output(handle_.get(), output_index(key), 0, nullptr, 0));
  }

  Outputs run() {
    detail::check(fcc_session_run(handle_.get()));
    return Outputs(*this);
  }
  Values output(const Key& key) const {
    fcc_tensor tensor{};
    detail::check(fcc_session_output(handle_.get(), output_index(key), &tensor));
    return Values(tensor);
  }
  // For the inputs bound now; -1 where only the run can tell.
  std::vector<int64_t> output_dims(const Key& key) {
    uint32_t index = output_index(key);
    std::vector<int64_t> dims(index < table().n_outputs ? table().outputs[index].rank : 1u);
    int64_t none = 0;  // a scalar has no dims, but the call wants somewhere to write
    detail::check(fcc_session_output_dims(handle_.get(), index, dims.empty() ? &none : dims.data()));
    return dims;
  }

  // ---- training: the live weights and optimizer slots, and the other entries that work on them
  Session entry(const char* name) const {
    fcc_session* sibling = nullptr;
    detail::check(fcc_session_entry(handle_.get(), name, &sibling));
    return Session(sibling);
  }
  Values state(const Key& key) {
    fcc_tensor tensor{};
    detail::check(fcc_session_state(handle_.get(), key.index(handle_.get(), fcc_session_find_state), &tensor));
    return Values(tensor);
  }
  void reset_state() { detail::check(fcc_session_reset_state(handle_.get())); }

  // ---- looking inside
  const fcc_entry& table() const { return *fcc_session_table(handle_.get()); }
  uint32_t input_index(const Key& key) const { return key.index(handle_.get(), fcc_session_find_input); }
  uint32_t output_index(const Key& key) const { return key.index(handle_.get(), fcc_session_find_output); }
  void set_profile(bool on) { detail::check(fcc_session_set_profile(handle_.get(), on)); }
  std::vector<fcc_step_profile> profile() const {
    std::vector<fcc_step_profile> steps(table().n_steps);
    for (uint32_t i = 0; i < steps.size(); ++i) detail::check(fcc_session_step_profile(handle_.get(), i, &steps[i]));
    return steps;
  }
  fcc_session_stats stats() const {
    fcc_session_stats stats{};
    detail::check(fcc_session_get_stats(handle_.get(), &stats));
    return stats;
  }
  fcc_session* handle() const { return handle_.get(); }

 private:
  friend class Model;
  struct Close {
    void operator()(fcc_session* session) const { fcc_session_close(session); }
  };
  explicit Session(fcc_session* handle) : handle_(handle) {}
  void bind_view(const Key& key, const View& view) {
    uint32_t index = input_index(key);
    uint32_t dtype = detail::carried_dtype(view.dtype(), index < table().n_inputs ? table().inputs[index].dtype : 0u);
    if (view.dims().empty()) {
      detail::check(fcc_session_bind_flat_input(handle_.get(), index, dtype, view.data(), view.elements()));
      return;
    }
    fcc_tensor tensor{const_cast<void*>(view.data()), dtype, static_cast<uint32_t>(view.dims().size()),
                      view.dims().data(), nullptr};
    detail::check(fcc_session_bind_input(handle_.get(), index, &tensor));
  }
  std::unique_ptr<fcc_session, Close> handle_;
};

inline Values Outputs::operator[](const Key& key) const {
  return session_->output(key);
}
inline size_t Outputs::size() const {
  return session_->table().n_outputs;
}

// A compiled model. Immutable, cheap to copy, shared by its sessions.
class Model {
 public:
  explicit Model(const char* path) {
    fcc_library* library = nullptr;
    detail::check(fcc_library_open(path, &library));
    handle_.reset(library, fcc_library_close);
  }
  explicit Model(const std::string& path) : Model(path.c_str()) {}
  // A model linked into the program: pass its fcc_model_query.
  explicit Model(fcc_model_query_fn query) {
    fcc_library* library = nullptr;
    detail::check(fcc_library_from_query(query, &library));
    handle_.reset(library, fcc_library_close);
  }

  // Takes over a library handle, such as fcc_trainer_snapshot gives.
  static Model adopt(fcc_library* library) { return Model(library); }

  Session session(const SessionOptions& options = {}) const {
    fcc_session_options inner{};
    inner.bytes = sizeof inner;
    inner.threads = options.threads;
    inner.pool = options.pool ? options.pool->handle() : nullptr;
    inner.entry = options.entry;
    fcc_session* session = nullptr;
    detail::check(fcc_session_create(handle_.get(), &inner, &session));
    return Session(session);
  }

  const fcc_model& table() const { return *fcc_library_model(handle_.get()); }
  const fcc_variant& variant() const { return *fcc_library_variant(handle_.get()); }
  fcc_library* handle() const { return handle_.get(); }

 private:
  explicit Model(fcc_library* library) : handle_(library, fcc_library_close) {}
  std::shared_ptr<fcc_library> handle_;
};

}  // namespace fcc

// What the opaque handles of fcc.h hold, and the checks that every function of the C interface starts with.
// For the files that implement that interface; nothing else looks inside a handle.
#pragma once

#include "library.h"
#include "pool.h"
#include "session.h"

struct fcc_library {
  std::shared_ptr<const fcc::runtime::Library> library;
  std::shared_ptr<fcc::runtime::AlignedMemory> snapshot;  // the state of its sessions; null: each makes its own
};
struct fcc_session {
  std::unique_ptr<fcc::runtime::Session> session;
};
struct fcc_pool {
  std::shared_ptr<fcc::runtime::Pool> pool;
};

namespace fcc::runtime {

inline fcc_status null_argument(const char* function, const char* argument) {
  return fail(FCC_BAD_ARGUMENT, "%s: %s is null", function, argument);
}

inline fcc_status past_end(const char* what, uint32_t index, uint32_t count) {
  return fail(FCC_BAD_ARGUMENT, "there is no %s %u: the model has %u, counted from 0", what, index, count);
}

}  // namespace fcc::runtime

#define FCC_REFUSE_NULL(pointer) \
  if ((pointer) == nullptr) return fcc::runtime::null_argument(__func__, #pointer)

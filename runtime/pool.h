// Threads that help with a run: the runtime's own, or the host program's.
// One interface, so that the session does not know which. A pool may always decline (it is busy, or no thread could be
// made); the caller then runs the job alone, with the same result.
#pragma once

#include <memory>

#include "board.h"
#include "error.h"

namespace fcc::runtime {

class Pool {
 public:
  virtual ~Pool() = default;
  // Participants worth asking for, the caller included.
  virtual uint32_t threads() const = 0;
  // Makes ready for runs of so many participants: what has to be allocated for them is allocated here.
  virtual void reserve(uint32_t participants) = 0;
  // Runs the whole job with at most `participants` threads, the caller included; false when it declines.
  virtual bool run(Job& job, uint32_t participants) = 0;
};

// The runtime's own threads; they start when they are first reserved. More participants than `threads` make the pool grow.
std::shared_ptr<Pool> make_worker_pool(uint32_t threads);
// The one of the process, made on first use, stopped when the program ends.
std::shared_ptr<Pool> process_pool();
std::shared_ptr<Pool> make_host_pool(const fcc_host_pool& host);

}  // namespace fcc::runtime

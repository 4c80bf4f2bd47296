#pragma once
// Processes that train one model together.
//
// A rank computes the gradients of its share of a batch; all ranks then have the same mean, summed in the order of
// their numbers, so that a run has the same bits each time. MPI is the only implementation (tools/fit/mpi_plugin.cc),
// in a library of its own that is loaded when it is asked for.
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ir/base/diagnostic.h"

namespace fcc {

class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // In place; every rank gets the same bits.
  virtual Status sum(std::span<float> values) = 0;
  virtual Status sum(std::span<double> values) = 0;
  virtual Status barrier() = 0;
  // Ends all ranks, with this exit status.
  virtual void abort(int status) = 0;
};

// True inside `mpirun`.
bool started_by_mpirun();
// Runs the command line of this process again as `mpirun -n ranks`, and waits; the exit status.
int run_under_mpirun(int ranks);
// Loads libfcc_mpi.so, found beside the program or by the system.
Result<std::unique_ptr<Ranks>> open_mpi_ranks();

}  // namespace fcc

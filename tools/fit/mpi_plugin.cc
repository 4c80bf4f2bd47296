#include "tools/fit/mpi_plugin.h"

#include <mpi.h>

namespace {

int ok(int code) {
  return code == MPI_SUCCESS ? 0 : 1;
}

int rank() {
  int r = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &r);
  return r;
}
int size() {
  int n = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &n);
  return n;
}

const fcc_mpi_functions kFunctions = {
    .rank = rank,
    .size = size,
    .exchange_float =
        [](const float* sent, float* received, int n) {
          return ok(MPI_Alltoall(sent, n, MPI_FLOAT, received, n, MPI_FLOAT, MPI_COMM_WORLD));
        },
    .exchange_double =
        [](const double* sent, double* received, int n) {
          return ok(MPI_Alltoall(sent, n, MPI_DOUBLE, received, n, MPI_DOUBLE, MPI_COMM_WORLD));
        },
    .collect_float = [](const float* mine, float* all,
                        int n) { return ok(MPI_Allgather(mine, n, MPI_FLOAT, all, n, MPI_FLOAT, MPI_COMM_WORLD)); },
    .collect_double = [](const double* mine, double* all,
                         int n) { return ok(MPI_Allgather(mine, n, MPI_DOUBLE, all, n, MPI_DOUBLE, MPI_COMM_WORLD)); },
    .barrier = [] { return ok(MPI_Barrier(MPI_COMM_WORLD)); },
    .abort = [](int status) { MPI_Abort(MPI_COMM_WORLD, status); },
    .finish = [] { MPI_Finalize(); },
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const fcc_mpi_functions* fcc_mpi_query() {
  int done = 0;
  MPI_Initialized(&done);
  if (!done) {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  }
  return &kFunctions;
}

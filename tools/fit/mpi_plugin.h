#pragma once
// The functions of MPI that training uses, behind C: so that fcc loads MPI only when it is asked for, and can be built
// without it. Each returns 0, or another number when a process is gone.

extern "C" {
struct fcc_mpi_functions {
  int (*rank)();
  int (*size)();
  // `count` elements to and from each rank.
  int (*exchange_float)(const float* sent, float* received, int count);
  int (*exchange_double)(const double* sent, double* received, int count);
  // `count` elements of each rank to all.
  int (*collect_float)(const float* mine, float* all, int count);
  int (*collect_double)(const double* mine, double* all, int count);
  int (*barrier)();
  void (*abort)(int status);
  void (*finish)();
};
typedef const fcc_mpi_functions* (*fcc_mpi_query_fn)();  // starts MPI
}

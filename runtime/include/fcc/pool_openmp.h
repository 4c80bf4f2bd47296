/* LLVM's OpenMP threads as a pool for sessions. A library of its own (CMake target fcc::pool_openmp), so that the
 * runtime itself does not depend on libomp. For programs that use OpenMP already and want one set of threads:
 *   fcc_host_pool host = fcc_openmp_pool(0);   fcc_pool_from_host(&host, &pool);
 * OpenMP's join waits for every thread of the team, also for one that came too late to work; see docs/abi.md. */
#ifndef FCC_POOL_OPENMP_H
#define FCC_POOL_OPENMP_H
#include "fcc/fcc.h"
#ifdef __cplusplus
extern "C" {
#endif
/* threads 0: what OMP_NUM_THREADS or libomp says. */
FCC_API fcc_host_pool fcc_openmp_pool(uint32_t threads);
#ifdef __cplusplus
}
#endif
#endif

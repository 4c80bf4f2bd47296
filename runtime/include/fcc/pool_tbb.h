/* oneTBB's threads as a pool for sessions. A library of its own (CMake target fcc::pool_tbb), so that the runtime
 * itself does not depend on TBB. For programs that use TBB already and want one set of threads:
 *   fcc_host_pool host = fcc_tbb_pool(0);   fcc_pool_from_host(&host, &pool); */
#ifndef FCC_POOL_TBB_H
#define FCC_POOL_TBB_H
#include "fcc/fcc.h"
#ifdef __cplusplus
extern "C" {
#endif
/* threads 0: TBB's default. Tasks run in the calling thread's arena, isolated from the caller's other tasks. */
FCC_API fcc_host_pool fcc_tbb_pool(uint32_t threads);
#ifdef __cplusplus
}
#endif
#endif

#pragma once
// Many independent jobs in forked worker processes, so that a crash or an endless loop costs one job and not the run.
//
// Lives in tools because only `fcc test` runs code it does not trust yet. The calling process must have no threads.
#include <functional>
#include <string>

namespace fcc {

struct JobOutcome {
  bool finished = false;  // else `text` says how the worker died
  std::string text;       // what the job returned
};

// job(i) runs in some worker; report(i, outcome) here, for i = 0, 1, 2, ... in order as soon as possible.
// workers 0: everything in this process, for debuggers.
void run_jobs(int jobs, int workers, double timeout_seconds, const std::function<std::string(int)>& job,
              const std::function<void(int, const JobOutcome&)>& report);

}  // namespace fcc

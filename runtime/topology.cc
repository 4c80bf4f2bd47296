#include "topology.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "board.h"

namespace fcc::runtime {
namespace {

constexpr uint32_t kWordBits = sizeof(unsigned long) * CHAR_BIT;

// The first line of a small file of /proc or /sys; empty when there is none.
std::string first_line(const std::string& path) {
  std::string line;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    char text[512];
    if (std::fgets(text, sizeof text, file)) line = text;
    std::fclose(file);
  }
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

// CPUs that "quota period" of a cgroup v2 cpu.max allows; infinite for "max".
double quota_of(const std::string& cpu_max) {
  double quota, period;
  if (std::sscanf(cpu_max.c_str(), "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0) return quota / period;
  return INFINITY;
}

// The tightest quota from this process's cgroup up to the root (v2), or the v1 controller's.
double cgroup_cpus() {
  double cpus = INFINITY;
  std::string path = first_line("/proc/self/cgroup");
  path = path.compare(0, 3, "0::") == 0 ? path.substr(3) : "";
  while (true) {
    cpus = std::min(cpus, quota_of(first_line("/sys/fs/cgroup" + path + "/cpu.max")));
    size_t slash = path.rfind('/');
    if (slash == std::string::npos) break;
    path.resize(slash);
  }
  std::string v1_quota = first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::string v1_period = first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (!v1_quota.empty()) cpus = std::min(cpus, quota_of(v1_quota + " " + v1_period));
  return cpus;
}

uint32_t physical_cores(const CpuSet& allowed) {
  std::set<std::string> cores;
  uint32_t seen = 0;
  for (uint32_t cpu = 0; seen < allowed.count() && cpu < 8192; ++cpu) {
    if (!allowed.contains(cpu)) continue;
    ++seen;
    std::string siblings =
        first_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return static_cast<uint32_t>(cores.size());
}

}  // namespace

CpuSet CpuSet::of_this_thread() {
  CpuSet set;
  for (size_t words = 16; words <= 1024; words *= 4) {  // the kernel refuses a mask shorter than its own
    set.words_.assign(words, 0);
    if (::syscall(SYS_sched_getaffinity, 0, words * sizeof(unsigned long), set.words_.data()) > 0) return set;
  }
  set.words_.assign(1, 1);
  return set;
}

uint32_t CpuSet::count() const {
  uint32_t count = 0;
  for (unsigned long word : words_) count += static_cast<uint32_t>(__builtin_popcountl(word));
  return count;
}

bool CpuSet::contains(uint32_t cpu) const {
  return cpu / kWordBits < words_.size() && (words_[cpu / kWordBits] >> cpu % kWordBits & 1);
}

void CpuSet::assign_without(const CpuSet& other, uint32_t cpu) {
  words_ = other.words_;
  if (cpu / kWordBits < words_.size()) words_[cpu / kWordBits] &= ~(1ul << cpu % kWordBits);
}

void CpuSet::apply_to(int thread_id) const {
  ::syscall(SYS_sched_setaffinity, thread_id, words_.size() * sizeof(unsigned long), words_.data());
}

uint32_t usable_cores() {
  CpuSet allowed = CpuSet::of_this_thread();
  uint32_t cores = std::min(allowed.count(), physical_cores(allowed));
  double quota = std::floor(cgroup_cpus());  // rounding up would be throttled for up to a period at a time
  if (quota < cores) cores = static_cast<uint32_t>(quota);
  return std::clamp<uint32_t>(cores, 1, kMaxParticipants);
}

uint32_t online_cpus() {
  return static_cast<uint32_t>(std::max(1l, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

// "0.31 0.22 0.10 RUNNABLE/ALL PID"
uint32_t runnable_threads() {
  char text[128];
  int fd = ::open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t bytes = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (bytes <= 0) return 0;
  text[bytes] = '\0';
  const char* at = text;
  for (int field = 0; field < 3; ++field) {
    at = std::strchr(at, ' ');
    if (at == nullptr) return 0;
    ++at;
  }
  return static_cast<uint32_t>(std::strtoul(at, nullptr, 10));
}

fcc_status default_threads(uint32_t* threads) {
  const char* text = std::getenv("FCC_NUM_THREADS");
  if (text == nullptr || *text == '\0') {
    *threads = usable_cores();
    return FCC_OK;
  }
  char* end = nullptr;
  long number = std::strtol(text, &end, 10);
  if (*end != '\0' || number < 1 || number > static_cast<long>(kMaxParticipants))
    return fail(FCC_BAD_ARGUMENT,
                "environment variable FCC_NUM_THREADS is \"%s\", expected a number from 1 to %u\n"
                " hint: unset it to use %u, what this process may use",
                text, kMaxParticipants, usable_cores());
  *threads = static_cast<uint32_t>(number);
  return FCC_OK;
}

}  // namespace fcc::runtime

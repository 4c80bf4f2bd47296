// A pool that borrows the threads of the host program through its parallel() callback.
#include "pool.h"

namespace fcc::runtime {
namespace {

class HostPool final : public Pool {
 public:
  explicit HostPool(const fcc_host_pool& host) : host_(host) {}
  uint32_t threads() const override { return host_.threads; }
  void reserve(uint32_t) override {}  // its threads are the host's

  bool run(Job& job, uint32_t participants) override {
    Board board;  // on the stack: parallel() returns only after every call it made
    board.open(job, participants, /*wake_all_at_end=*/true);
    Call call{&board, participants};
    host_.parallel(host_.self, participants, &HostPool::enter, &call);
    board.work(0);  // a host that called nothing still gets its result
    return true;
  }

 private:
  struct Call {
    Board* board;
    uint32_t participants;
  };
  static void enter(void* arg, uint32_t index) {
    auto* call = static_cast<Call*>(arg);
    if (index < call->participants) call->board->work(index);
  }

  fcc_host_pool host_;
};

}  // namespace

std::shared_ptr<Pool> make_host_pool(const fcc_host_pool& host) {
  return std::make_shared<HostPool>(host);
}

}  // namespace fcc::runtime

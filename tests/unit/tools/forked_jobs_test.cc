#include "tools/fcc/forked_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <vector>

namespace fcc {
namespace {

using testing::HasSubstr;

struct Seen {
  std::vector<int> order;
  std::vector<JobOutcome> outcomes;
};

Seen run(int jobs, int workers, double timeout, const std::function<std::string(int)>& job) {
  Seen seen;
  run_jobs(jobs, workers, timeout, job, [&](int i, const JobOutcome& outcome) {
    seen.order.push_back(i);
    seen.outcomes.push_back(outcome);
  });
  return seen;
}

TEST(ForkedJobs, ReportsEveryJobInOrder) {
  for (int workers : {0, 1, 3, 8}) {
    const Seen seen = run(20, workers, 60, [](int i) {
      if (i % 3 == 0) ::usleep(3000);
      return std::string(static_cast<size_t>(i) * 10000, 'x');  // more than a pipe holds
    });
    ASSERT_EQ(seen.order.size(), 20u);
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(seen.order[i], static_cast<int>(i));
      EXPECT_TRUE(seen.outcomes[i].finished);
      EXPECT_EQ(seen.outcomes[i].text.size(), i * 10000);
    }
  }
}

TEST(ForkedJobs, LosesOneJobToACrash) {
  const Seen seen = run(9, 2, 60, [](int i) {
    if (i % 3 == 1) ::raise(SIGKILL);
    if (i == 5) ::_exit(7);
    return std::string("fine");
  });
  ASSERT_EQ(seen.outcomes.size(), 9u);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(seen.outcomes[i].finished, i % 3 != 1 && i != 5) << i;
  EXPECT_THAT(seen.outcomes[1].text, HasSubstr("crashed: Killed"));
  EXPECT_THAT(seen.outcomes[5].text, HasSubstr("status 7"));
}

TEST(ForkedJobs, StopsAJobThatTakesTooLong) {
  const Seen seen = run(3, 2, 0.3, [](int i) {
    while (i == 1) ::pause();
    return std::string("fine");
  });
  ASSERT_EQ(seen.outcomes.size(), 3u);
  EXPECT_FALSE(seen.outcomes[1].finished);
  EXPECT_THAT(seen.outcomes[1].text, HasSubstr("no result after"));
  EXPECT_TRUE(seen.outcomes[2].finished);
}

TEST(ForkedJobs, HasNothingToDoForNoJobs) {
  EXPECT_TRUE(run(0, 4, 1, [](int) { return std::string(); }).order.empty());
}

}  // namespace
}  // namespace fcc

// Running: values, shapes, plans, state, profile.
#include <chrono>
#include <cstring>
#include <thread>

#include "abi_support.h"

extern "C" float fcc_h_is_c(const char* path);

namespace fcc::test {
namespace {

// Bits of both outputs of mlp_open for `rows` rows.
std::vector<float> run_mlp(Session& session, size_t rows) {
  std::vector<float> x = sample_rows(rows);
  auto outputs = session.run({{"x", x}});
  auto bits = outputs["logits"].copy<float>();
  for (float p : outputs["probabilities"].as<float>()) bits.push_back(p);
  return bits;
}

TEST(Run, Fixed) {
  Session session = open_model("fixed").session();
  std::vector<float> x(16);
  for (size_t i = 0; i < 16; ++i) x[i] = static_cast<float>(i);
  auto y = session.run({{"x", x}})["y"];
  EXPECT_EQ(y.dims(), (std::vector<int64_t>{1, 16}));
  std::vector<float> expected = x;
  for (int step = 0; step < 3; ++step) {
    std::vector<float> previous = expected;
    for (size_t i = 0; i < 16; ++i) expected[i] = previous[i] + 0.5f * previous[(i + 1) % 16] + 1.0f;
  }
  EXPECT_EQ(y.copy<float>(), expected);
}

TEST(Run, FromC) {
  EXPECT_EQ(fcc_h_is_c(model_path("fixed").c_str()), 16 * 4.75f);
}

TEST(Run, OpenBatchAnySize) {
  Model model = open_model("mlp_open");
  Session all = model.session({1});
  std::vector<float> reference = run_mlp(all, 100);
  for (size_t rows : {size_t{1}, size_t{7}, size_t{8}, size_t{9}, size_t{64}, size_t{100}}) {
    std::vector<float> got = run_mlp(all, rows);
    ASSERT_EQ(got.size(), rows * 6);
    EXPECT_EQ(0, std::memcmp(got.data(), reference.data(), rows * 3 * 4)) << rows;
  }
  EXPECT_NE(reference[0], 0.0f);
}

TEST(Run, SameBitsForAnyNumberOfThreads) {
  Model model = open_model("mlp_open");
  Session alone = model.session({1});
  std::vector<float> expected = run_mlp(alone, 1001);
  for (uint32_t threads : {2u, 3u, 5u, 16u}) {
    Pool pool(threads);  // fresh: on a crowded machine a pool rests after a while, but not before its first run
    Session session = model.session({threads, &pool});
    for (int i = 0; i < 20; ++i) ASSERT_EQ(run_mlp(session, 1001), expected) << threads << " threads";
    EXPECT_EQ(session.stats().threads, threads);
    EXPECT_GT(session.stats().forked_runs, 0) << threads << " threads";  // fewer than 20 on a crowded machine
  }
  EXPECT_EQ(alone.stats().forked_runs, 0);
}

TEST(Run, LittleWorkNeverForks) {
  Session session = open_model("mlp_small").session({4});
  run_mlp(session, 1001);
  EXPECT_EQ(session.stats().forked_runs, 0);
}

TEST(Run, MiddlingWorkForksOnlyWhenRunsFollowClosely) {
  Session session = open_model("mlp_open").session({2});
  std::vector<float> x = sample_rows(100);  // 150 us by the model's estimate
  session.bind_input("x", x);
  for (int i = 0; i < 5; ++i) {
    session.run();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(session.stats().forked_runs, 0);
  for (int i = 0; i < 1000; ++i) session.run();
  EXPECT_GT(session.stats().forked_runs, 0);
}

TEST(Run, BindOnceRunMany) {
  Session session = open_model("mlp_open").session({1});
  std::vector<float> x = sample_rows(10), logits(30), probabilities(30);
  session.bind_input("x", x.data(), {10, 4});
  session.bind_output("logits", logits);
  session.bind_output(1, probabilities);
  session.run();
  std::vector<float> first = logits;
  std::fill(logits.begin(), logits.end(), 0.0f);
  session.run();
  EXPECT_EQ(logits, first);
  x[0] += 1;  // the memory is read anew in each run
  session.run();
  EXPECT_NE(logits, first);
  EXPECT_EQ(session.output("logits").data(), logits.data());
  session.unbind_output("logits");
  session.run();
  EXPECT_NE(session.output("logits").data(), logits.data());
  EXPECT_EQ(session.output("logits").copy<float>(), logits);
}

TEST(Run, OutputDimsBeforeAndAfter) {
  Session session = open_model("mlp_open").session();
  std::vector<float> x = sample_rows(5);
  session.bind_input("x", x);
  EXPECT_EQ(session.output_dims("logits"), (std::vector<int64_t>{5, 3}));
  session.run();
  EXPECT_EQ(session.output_dims("logits"), (std::vector<int64_t>{5, 3}));
  EXPECT_EQ(session.output("logits").dims(), (std::vector<int64_t>{5, 3}));
}

TEST(Run, PlansAreKeptByShape) {
  Session session = open_model("mlp_open").session({1});
  for (int round = 0; round < 5; ++round)
    for (size_t rows : {size_t{1}, size_t{64}, size_t{3}}) run_mlp(session, rows);
  EXPECT_EQ(session.stats().plans, 3);
  std::vector<float> expected = run_mlp(session, 9);
  for (size_t rows = 10; rows < 40; ++rows) run_mlp(session, rows);  // pushes the others out
  EXPECT_EQ(run_mlp(session, 9), expected);
}

TEST(Run, FaultsNameTheStepAndLeaveTheSessionUsable) {
  for (uint32_t threads : {1u, 3u}) {
    Session session = open_model("mlp_open").session({threads});
    std::vector<float> x(4 * 999, 1.0f);
    x[4 * 500] = 3e7f;
    EXPECT_EQ(error_of(FCC_FAULT, [&] { session.run({{"x", x}}); }),
              "step 1 \"fc2\" (Gemm): a hidden value is above a million");
    EXPECT_EQ(error_of(FCC_BAD_ARGUMENT, [&] { session.output(0); }).find("output \"logits\" has no value"), 0u);
    EXPECT_EQ(run_mlp(session, 20).size(), 120u);
  }
}

TEST(Run, TheFirstFaultWinsForAnyNumberOfThreads) {
  std::vector<float> x(4 * 999, 1.0f);
  x[4 * 300] = 3e7f;
  x[4 * 700] = 3e14f;
  for (uint32_t threads : {1u, 2u, 3u, 8u}) {
    Session session = open_model("mlp_open").session({threads});
    for (int i = 0; i < 20; ++i)
      ASSERT_EQ(error_of(FCC_FAULT, [&] { session.run({{"x", x}}); }),
                "step 1 \"fc2\" (Gemm): a hidden value is above a million");
  }
}

// ---- sizes that only the run can tell

class Counted : public ::testing::TestWithParam<uint32_t> {};

TEST_P(Counted, FollowsTheData) {
  Session session = open_model("counted").session({GetParam()});
  std::vector<float> x = {3, -1, 20, 0, 11, 5};
  session.bind_input("x", x);
  EXPECT_EQ(session.output_dims("positives"), (std::vector<int64_t>{-1}));
  auto outputs = session.run();
  EXPECT_EQ(outputs["positives"].copy<float>(), (std::vector<float>{3, 20, 11, 5}));
  EXPECT_EQ(outputs["big"].copy<float>(), (std::vector<float>{20, 11}));
  EXPECT_EQ(session.output_dims("positives"), (std::vector<int64_t>{4}));
  // Other data in the same memory: other sizes.
  x = {1, 2, 3, 4, 5, 6};
  session.run();
  EXPECT_EQ(outputs["positives"].size(), 6u);
  EXPECT_EQ(outputs["big"].size(), 0u);
  EXPECT_NE(outputs["big"].data(), nullptr);
  x.assign(6, -1);
  session.run();
  EXPECT_EQ(outputs["positives"].dims(), (std::vector<int64_t>{0}));
  std::vector<float> many(100000, 100.0f);
  session.run({{"x", many}});
  EXPECT_EQ(outputs["big"].size(), 100000u);
  EXPECT_EQ(outputs["big"].as<float>()[99999], 100.0f);
}

TEST_P(Counted, RoomIsCheckedWhenTheSizeIsKnown) {
  Session session = open_model("counted").session({GetParam()});
  std::vector<float> x = {1, 2, 3}, room(2);
  session.bind_input("x", x);
  session.bind_output("positives", room);
  EXPECT_EQ(error_of(FCC_BAD_BUFFER, [&] { session.run(); }),
            "output \"positives\" needs 12 bytes for f32[3], the memory bound to it has 8\n"
            " hint: bind at least 12 bytes, or bind nothing and read the runtime's own memory");
  x[0] = -1;
  session.run();
  EXPECT_EQ(room, (std::vector<float>{2, 3}));
}

TEST_P(Counted, BoundsOfDefinedSymbols) {
  Session session = open_model("counted_bounded").session({GetParam()});
  EXPECT_EQ(error_of(FCC_FAULT, [&] { session.run({{"x", std::vector<float>(5, 1.0f)}}); }),
            "step \"count_positive\" set P to 5, which must be from 0 to 3");
}

INSTANTIATE_TEST_SUITE_P(Threads, Counted, ::testing::Values(1u, 3u));

// ---- state

TEST(State, EntriesShareIt) {
  Session infer = open_model("trained").session();
  Session train = infer.entry("train_step");
  Session evaluate = infer.entry("evaluate");
  const std::vector<float> x = {1, 1, 2, 2}, target = {2, 2, 2, 2};
  EXPECT_EQ(infer.run({{"x", x}})["y"].copy<float>(), (std::vector<float>{1, 2, 6, 8}));
  train.bind_input("x", x);
  train.bind_input("target", target);
  evaluate.bind_input("x", x);
  evaluate.bind_input("target", target);
  float before = evaluate.run()["loss"].as<float>()[0];
  EXPECT_EQ(before, 1 + 0 + 16 + 36);
  float last = before;
  for (int step = 0; step < 50; ++step) {
    train.run();
    float loss = evaluate.run()[0].as<float>()[0];  // grows the shared workspace under the others
    ASSERT_LE(loss, last);
    last = loss;
  }
  EXPECT_LT(last, 0.01f);
  EXPECT_EQ(infer.state("steps").as<int64_t>()[0], 50);
  EXPECT_NEAR(infer.state("w").as<float>()[3], 1.0f, 1e-3);
  EXPECT_NEAR(infer.run()["y"].as<float>()[3], 2.0f, 1e-2);
  EXPECT_EQ(infer.output("y").dims(), (std::vector<int64_t>{4}));
}

TEST(State, CanBeReadWrittenAndReset) {
  Session session = open_model("trained").session();
  auto w = session.state("w");
  EXPECT_EQ(w.copy<float>(), (std::vector<float>{1, 2, 3, 4}));
  w.as<float>()[0] = 10;
  EXPECT_EQ(session.run({{"x", std::vector<float>(4, 1.0f)}})["y"].as<float>()[0], 10);
  session.reset_state();
  EXPECT_EQ(w.as<float>()[0], 1);
}

TEST(State, IsOfTheSession) {
  Model model = open_model("trained");
  Session a = model.session(), b = model.session();
  a.state("w").as<float>()[0] = 10;
  EXPECT_EQ(b.state("w").as<float>()[0], 1);
}

// ---- looking inside

TEST(Profile, CountsCallsAndTime) {
  for (uint32_t threads : {1u, 2u}) {
    Session session = open_model("mlp_open").session({threads});
    run_mlp(session, 200);
    EXPECT_EQ(session.profile()[0].calls, 0);
    session.set_profile(true);
    for (int i = 0; i < 5; ++i) run_mlp(session, 200);
    auto steps = session.profile();
    ASSERT_EQ(steps.size(), 3u);
    EXPECT_STREQ(steps[0].name, "fc1");
    EXPECT_STREQ(steps[0].what, "Gemm+Relu");
    EXPECT_EQ(steps[0].flops, 2 * 200 * 4 * 8);
    EXPECT_EQ(steps[0].bytes, 200 * 12 * 4);
    for (const auto& step : steps) {
      EXPECT_EQ(step.calls, 5);
      EXPECT_GT(step.ns, 0);
    }
    session.set_profile(false);
    run_mlp(session, 200);
    EXPECT_EQ(session.profile()[0].calls, 0);
  }
}

TEST(Profile, BeforeAnyRun) {
  Session session = open_model("mlp_open").session();
  EXPECT_EQ(session.profile()[0].flops, 0);
}

TEST(Cpp, HalfAndBoolTravelAsBits) {
  Session border = open_model("border").session();
  std::vector<float> image(192);
  const std::vector<int64_t> ids = {5};
  std::array<bool, 3> mask = {true, false, true};
  std::vector<uint16_t> half(3, 0x3c00);
  auto outputs = border.run({{"image", image}, {"ids", ids}, {"attention_mask", mask}, {"half", half}});
  EXPECT_EQ(outputs[0].as<double>()[0], 7.0);
  EXPECT_EQ(outputs.size(), 1u);
}

}  // namespace
}  // namespace fcc::test

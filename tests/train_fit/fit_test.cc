// The loop of fcc fit over the model by hand of tests/train_runtime.
#include "tools/fit/fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <cmath>
#include <filesystem>
#include <thread>

#include "fcc/train.hpp"
#include "tools/files.h"
#include "tools/fit/ranks.h"
#include "tools/fit/report.h"
#include "tools/npy.h"

namespace fcc {
namespace {

using ::testing::HasSubstr;

// Three clouds, as .npy files in a folder.
class Fit : public ::testing::Test {
 protected:
  void SetUp() override {
    Philox random(1, 2);
    Tensor x(DType::f32, {300, 4}), y(DType::i64, {300});
    for (int64_t r = 0; r < 300; ++r) {
      y.as<int64_t>()[static_cast<size_t>(r)] = r % 3;
      for (int64_t i = 0; i < 4; ++i)
        x.as<float>()[static_cast<size_t>(4 * r + i)] =
            static_cast<float>((i == r % 3 ? 2.0 : 0.0) + 0.7 * random.normal(static_cast<uint64_t>(4 * r + i)));
    }
    ASSERT_TRUE(write_npy(path("x.npy"), x));
    ASSERT_TRUE(write_npy(path("y.npy"), y));
    options_.model = FCC_TRAIN_MODELS "/softmax.so";
    options_.data.data = {path("x.npy")};
    options_.data.targets = {path("y.npy")};
    options_.epochs = 3;
    options_.batch_size = 40;
  }
  std::string path(const std::string& name) const { return folder_.path() + "/" + name; }
  FitResult run(const FitOptions& o, const FitEvents& events = {}) {
    Result<FitResult> result = fit(o, "", events);
    EXPECT_TRUE(result) << (result ? "" : result.error().text());
    return result ? *result : FitResult();
  }
  std::string refusal(const FitOptions& o) {
    Result<FitResult> result = fit(o, "", {});
    return result ? "no fault" : result.error().text();
  }

  TemporaryFolder folder_;
  FitOptions options_;
};

TEST_F(Fit, LearnsValidatesAndLogs) {
  options_.validation_split = 0.2;
  options_.log = path("log.csv");
  options_.output = path("out.onnx");
  options_.save = path("best.safetensors");
  int lines = 0;
  const FitResult r = run(options_, {.progress = {}, .epoch = [&](const EpochRow&) { ++lines; }, .interrupted = {}});
  EXPECT_EQ(lines, 3);
  EXPECT_EQ(r.train_rows, 240);
  EXPECT_EQ(r.validation_rows, 60);
  EXPECT_EQ(r.steps, 18);
  EXPECT_GT(r.best_accuracy, 0.8);
  EXPECT_LT(r.history.epochs[2].loss, r.history.epochs[0].loss);
  const std::string log = read_text_file(path("log.csv")).value();
  EXPECT_THAT(log, HasSubstr("epoch,steps,lr,loss,accuracy,val_loss,val_accuracy,seconds,rows_per_second\n1,6,0.1,"));
  EXPECT_EQ(read_history(path("log.csv"), 2).value().epochs.size(), 2u);
  EXPECT_TRUE(std::filesystem::exists(path("out.onnx")));
  // The exported and the saved weights are those of the best epoch.
  Trainer best = Trainer::load(options_.model);
  best.load_weights(path("best.safetensors"));
  best.export_onnx(path("again.onnx"));
  EXPECT_EQ(read_text_file(path("again.onnx")).value(), read_text_file(path("out.onnx")).value());
}

TEST_F(Fit, ResumeGivesTheSameFiles) {
  options_.epochs = 4;
  options_.schedule = "cosine";
  options_.lr = 0.05;
  options_.checkpoint = path("whole.safetensors");
  options_.output = path("whole.onnx");
  options_.log = path("whole.csv");
  run(options_);
  FitOptions half = options_;
  half.checkpoint = path("half.safetensors");
  half.log = path("half.csv");
  half.output = path("half.onnx");
  int steps = 0;  // interrupted in the middle of the second epoch
  const FitResult first = run(half, {.progress = {}, .epoch = {}, .interrupted = [&] { return ++steps == 11; }});
  EXPECT_TRUE(first.interrupted);
  EXPECT_EQ(first.steps, 11);
  EXPECT_FALSE(std::filesystem::exists(half.output));
  half.resume = half.checkpoint;
  half.threads = 1;
  run(half);
  EXPECT_EQ(read_text_file(half.checkpoint).value(), read_text_file(options_.checkpoint).value());
  EXPECT_EQ(read_text_file(half.output).value(), read_text_file(options_.output).value());
  EXPECT_EQ(read_history(half.log, 9).value().epochs.size(), 4u);
}

TEST_F(Fit, ResumeRefusesAnotherRun) {
  options_.checkpoint = path("run.safetensors");
  run(options_);
  options_.resume = options_.checkpoint;
  options_.batch_size = 50;
  EXPECT_THAT(refusal(options_), HasSubstr("was saved with batch 40, now it is 50"));
  options_.batch_size = 40;
  options_.seed = 1;
  EXPECT_THAT(refusal(options_), HasSubstr("was saved with seed 0, now it is 1"));
}

TEST_F(Fit, BadDataIsRefusedBeforeTheFirstStep) {
  FitOptions o = options_;
  o.data.targets = {path("x.npy")};
  EXPECT_THAT(refusal(o), HasSubstr("rows of \"target\" have 4 numbers, the model wants 1"));
  Tensor labels(DType::i64, {300});
  labels.as<int64_t>()[17] = 3;
  ASSERT_TRUE(write_npy(path("bad.npy"), labels));
  o.data.targets = {path("bad.npy")};
  EXPECT_THAT(refusal(o), HasSubstr("training data: label 3 at row 17: the model has 3 classes"));
  ASSERT_TRUE(write_npy(path("short.npy"), Tensor(DType::i64, {299})));
  o.data.targets = {path("short.npy")};
  EXPECT_THAT(refusal(o), HasSubstr("300 rows of \"x\", 299 of \"target\""));
  o.validation_split = 0.1;
  EXPECT_THAT(refusal(o), HasSubstr("300 rows of \"x\", 299 of \"target\""));
  o = options_;
  o.batch_size = 1000;
  EXPECT_THAT(refusal(o), HasSubstr("the model was compiled for N from 1 to 512"));
  o = options_;
  o.data.targets.clear();
  EXPECT_THAT(refusal(o), HasSubstr("there is no data for \"target\""));
  Tensor ignored(DType::i64, {300});
  for (int64_t& label : ignored.as<int64_t>()) label = -100;
  ASSERT_TRUE(write_npy(path("ignored.npy"), ignored));
  o.data.targets = {path("ignored.npy")};
  EXPECT_THAT(refusal(o), HasSubstr("every label says that it is to be ignored"));
}

TEST_F(Fit, ReportShowsWhatHappened) {
  options_.validation_split = 0.2;
  options_.collect = true;
  Result<FitResult> r = fit(options_, "", {});
  ASSERT_TRUE(r) << r.error().text();
  ASSERT_TRUE(r->confusion);
  int64_t judged = 0, right = 0;
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j)
      judged += r->confusion->counts[3 * i + j], right += i == j ? r->confusion->counts[3 * i + j] : 0;
  EXPECT_EQ(judged, 60);
  EXPECT_NEAR(static_cast<double>(right) / 60, r->best_accuracy, 1e-9);
  ASSERT_EQ(r->weights.size(), 2u);
  EXPECT_NE(r->weights[0].before, r->weights[0].after);
  EXPECT_EQ(r->step_times[0].calls, 18);
  Insight insight;
  insight.graph = {{"input", "x", "f32[N,4]", "", {}}, {"Gemm", "fc", "f32[N,3]", "fc.weight f32[3,4]", {0}}};
  insight.activations = {{"fc", "Gemm", "f32[N,3]", 0, 1, 0.25, {1, 2, 3}}};
  r->confusion->classes[1] = "<b>&'";
  const std::string html = report_html({"soft<max>.so", {{"loss", "cross_entropy"}}}, *r, insight);
  for (const char* part :
       {"<h1>soft&lt;max&gt;.so</h1>", "Curves", "Confusion matrix", "&lt;b&gt;&amp;&#39;", "Weights", "Activations",
        "25 % zero", "Graph", "Time by step", "train_rows", "cross_entropy"})
    EXPECT_THAT(html, HasSubstr(part));
  for (const char* part : {"nan", "inf'", "<script", "http:", "https:"}) EXPECT_EQ(html.find(part), html.npos) << part;
}

// Ranks that are threads of this process.
struct Meeting {
  explicit Meeting(int n) : size(n), barrier(n) {}
  int size;
  std::barrier<> barrier;
  std::vector<std::vector<double>> values = std::vector<std::vector<double>>(static_cast<size_t>(size));
};
class ThreadRanks final : public Ranks {
 public:
  ThreadRanks(Meeting& meeting, int rank) : m_(meeting), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return m_.size; }
  Status sum(std::span<float> values) override { return summed(values); }
  Status sum(std::span<double> values) override { return summed(values); }
  Status barrier() override {
    m_.barrier.arrive_and_wait();
    return {};
  }
  void abort(int) override {}

 private:
  template <class T>
  Status summed(std::span<T> values) {
    m_.values[static_cast<size_t>(rank_)].assign(values.begin(), values.end());
    m_.barrier.arrive_and_wait();
    std::ranges::fill(values, T(0));
    for (const std::vector<double>& of_rank : m_.values)
      for (size_t i = 0; i < values.size(); ++i) values[i] += static_cast<T>(of_rank[i]);
    m_.barrier.arrive_and_wait();
    return {};
  }
  Meeting& m_;
  int rank_;
};

TEST_F(Fit, RanksFollowTheCurveOfOneProcess) {
  options_.model = FCC_TRAIN_MODELS "/softmax_sure.so";
  options_.threads = 1;
  options_.batch_size = 37;  // shares of unequal size, and a last batch of four rows
  const FitResult one = run(options_);
  for (int n : {2, 3, 5}) {
    Meeting meeting(n);
    std::vector<FitResult> results(static_cast<size_t>(n));
    std::vector<std::thread> threads;
    for (int r = 0; r < n; ++r)
      threads.emplace_back([&, r] {
        ThreadRanks ranks(meeting, r);
        Result<FitResult> result = fit(options_, "", {}, &ranks);
        if (result) results[static_cast<size_t>(r)] = *result;
      });
    for (std::thread& t : threads) t.join();
    for (const FitResult& r : results) {
      ASSERT_EQ(r.history.step_losses.size(), one.history.step_losses.size());
      for (size_t i = 0; i < one.history.step_losses.size(); ++i)
        EXPECT_NEAR(r.history.step_losses[i], one.history.step_losses[i], 1e-5f) << n << " ranks, step " << i;
      EXPECT_NEAR(r.history.epochs[2].accuracy, one.history.epochs[2].accuracy, 0.01);
    }
  }
}

TEST_F(Fit, TheModelsScheduleIsUsed) {
  Result<FitResult> r = fit(options_, "step(epochs=1, gamma=0.5)", {});
  ASSERT_TRUE(r);
  EXPECT_DOUBLE_EQ(r->history.epochs[2].lr, 0.025);
  options_.schedule = "cosine";  // gets its length from the run
  r = fit(options_, "", {});
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_NEAR(r->history.epochs[1].lr, 0.05 * (1 + std::cos(M_PI / 3)), 1e-12);
}

}  // namespace
}  // namespace fcc

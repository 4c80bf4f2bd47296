// The trainer: steps, evaluation, what goes wrong and leaves the weights alone, rates, freezing, snapshots.
#include <atomic>
#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include "train_support.h"

namespace fcc::test {
namespace {

const Clouds kData(203);

TEST(Train, LearnsAndEvaluates) {
  Trainer trainer = open_trainer();
  fcc_evaluation before = trainer.evaluate(kData.x, kData.labels);
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    train_epoch(trainer, kData, epoch);
    trainer.end_epoch(0);
  }
  fcc_evaluation after = trainer.evaluate(kData.x, kData.labels);
  EXPECT_GT(before.loss, 0.9);
  EXPECT_LT(after.loss, 0.4);
  EXPECT_GT(after.accuracy, 0.9);
  EXPECT_EQ(after.rows, 203);
  EXPECT_EQ(after.judged, 203);
  EXPECT_EQ(trainer.progress().steps, 55);
  EXPECT_EQ(trainer.progress().epoch, 5);
  EXPECT_EQ(trainer.state("hyper/step").as<int64_t>()[0], 55);
}

TEST(Train, EvaluationDoesNotDependOnThePieces) {
  Trainer trainer = open_trainer();
  fcc_evaluation whole = trainer.evaluate(kData.x, kData.labels);
  for (int64_t rows : {1, 7, 100, 203, 5000}) {
    trainer.batch_rows(rows);
    fcc_evaluation parts = trainer.evaluate(kData.x, kData.labels);
    EXPECT_NEAR(parts.loss, whole.loss, 1e-6 * whole.loss) << rows;
    EXPECT_EQ(parts.correct, whole.correct) << rows;
  }
}

TEST(Train, EvaluationCountsTheLargestScore) {
  Trainer trainer = open_trainer();
  int64_t correct = 0;
  Span<float> scores = trainer.predict(kData.x).as<float>();
  for (size_t r = 0; r < 203; ++r) {
    const float* row = scores.data() + 3 * r;
    correct += std::max_element(row, row + 3) - row == kData.labels.as<int64_t>()[r];
  }
  EXPECT_EQ(trainer.evaluate(kData.x, kData.labels).correct, correct);
}

TEST(Train, EvaluationChangesNothing) {
  Trainer trainer = open_trainer();
  auto before = all_states(trainer);
  trainer.evaluate(kData.x, kData.labels);
  trainer.predict(kData.x);
  EXPECT_TRUE(all_states(trainer) == before);
}

TEST(Train, TheSameBitsForAnyNumberOfThreads) {
  std::vector<std::vector<std::vector<char>>> states;
  for (uint32_t threads : {1u, 2u, 3u}) {
    TrainerOptions options;
    options.threads = threads;
    Pool pool(threads);
    options.pool = &pool;
    Trainer trainer = open_trainer(options);
    for (int64_t epoch = 0; epoch < 3; ++epoch) train_epoch(trainer, kData, epoch);
    states.push_back(all_states(trainer));
  }
  EXPECT_EQ(states[1], states[0]);
  EXPECT_EQ(states[2], states[0]);
}

TEST(Train, FlatDataAndDataOfAnotherRankWithTheSameRows) {
  Trainer flat = open_trainer(), shaped = open_trainer(), square = open_trainer();
  std::vector<float> x(40, 0.5f);
  std::vector<int64_t> y(10, 1);
  flat.step(x, y);
  shaped.step(TensorRef(x.data(), {10, 4}), TensorRef(y.data(), {10}));
  square.step(TensorRef(x.data(), {10, 2, 2}), TensorRef(y.data(), {10, 1}));
  EXPECT_TRUE(all_states(flat) == all_states(shaped));
  EXPECT_TRUE(all_states(square) == all_states(shaped));
  EXPECT_EQ(flat.evaluate(x, y).loss, square.evaluate(TensorRef(x.data(), {10, 2, 2}), y).loss);
  x.resize(28);  // a shorter batch after a longer one
  y.resize(7);
  flat.step(x, y);
  EXPECT_EQ(flat.progress().steps, 2);
}

TEST(Train, BadInputIsRefusedAndChangesNothing) {
  Trainer trainer = open_trainer();
  auto before = all_states(trainer);
  std::vector<float> x(40, 0.5f);
  std::vector<int64_t> y(10, 1);
  EXPECT_EQ(error_of(FCC_BAD_ARGUMENT, [&] { trainer.step(x); }),
            "entry \"train_step\" takes 2 tensors, got 1\n hint: in this order: \"x\" f32[N,4], \"target\" i64[N]");
  std::vector<float> float_labels(10);
  EXPECT_NE(error_of(FCC_BAD_DTYPE, [&] { trainer.step(x, float_labels); }).find("is i64, got f32"), std::string::npos);
  std::vector<int64_t> nine(9, 1);
  error_of(FCC_BAD_SHAPE, [&] { trainer.step(x, nine); });
  std::vector<float> odd(39, 0.5f);
  error_of(FCC_BAD_SHAPE, [&] { trainer.step(odd, y); });
  std::vector<float> many(513 * 4, 0.5f);
  std::vector<int64_t> many_labels(513, 1);
  EXPECT_NE(error_of(FCC_BAD_SHAPE, [&] { trainer.step(many, many_labels); }).find("1 to 512"), std::string::npos);
  y[7] = 3;
  EXPECT_NE(error_of(FCC_FAULT, [&] { trainer.step(x, y); }).find("a label is outside 0 to 2"), std::string::npos);
  EXPECT_NE(error_of(FCC_BAD_SHAPE, [&] { trainer.evaluate(x, nine); }).find("has 10 rows"), std::string::npos);
  EXPECT_NE(error_of(FCC_BAD_SHAPE, [&] { trainer.evaluate(std::vector<float>(), std::vector<int64_t>()); })
                .find("the evaluation set is empty"),
            std::string::npos);
  EXPECT_TRUE(all_states(trainer) == before);
  y[7] = 2;
  trainer.step(x, y);  // and it goes on
}

TEST(Train, AnInferenceModelIsRefused) {
  EXPECT_NE(error_of(FCC_NOT_FOUND, [] { Trainer::load(FCC_ABI_MODELS "/fixed.so"); })
                .find("was compiled for inference: it has no entry \"train_step\""),
            std::string::npos);
}

// ---- not finite -----------------------------------------------------------------------------------------------------

std::vector<float> with_infinity() {
  std::vector<float> x(40, 0.5f);
  x[22] = std::numeric_limits<float>::infinity();
  return x;
}
const std::vector<int64_t> kOnes(10, 1);

TEST(NotFinite, StopsAndNamesTheInput) {
  Trainer trainer = open_trainer();
  train_epoch(trainer, kData, 0);
  auto before = all_states(trainer);
  std::string text = error_of(FCC_NOT_FINITE, [&] { trainer.step(with_infinity(), kOnes); });
  EXPECT_NE(text.find("step 12: the loss is not finite"), std::string::npos) << text;
  EXPECT_NE(text.find("the first value that is not comes from step 0 \"train_rows\" (Rows)"), std::string::npos)
      << text;
  EXPECT_NE(text.find("input \"x\" is not finite at element 22 of this batch"), std::string::npos) << text;
  EXPECT_TRUE(all_states(trainer) == before);
  EXPECT_EQ(trainer.progress().steps, 11);
}

TEST(NotFinite, SkipGoesOnAsIfTheBatchHadNotBeen) {
  TrainerOptions options;
  options.on_nonfinite = FCC_NONFINITE_SKIP;
  Trainer trainer = open_trainer(options), other = open_trainer(options);
  train_epoch(trainer, kData, 0);
  train_epoch(other, kData, 0);
  trainer.step(with_infinity(), kOnes);
  EXPECT_EQ(trainer.progress().skipped, 1);
  EXPECT_EQ(trainer.progress().epoch_steps, 12);  // the batch is used up
  train_epoch(trainer, kData, 1);
  train_epoch(other, kData, 1);
  EXPECT_TRUE(all_states(trainer) == all_states(other));
}

TEST(NotFinite, SkipUndoesAnUpdateToInfinity) {
  TrainerOptions options;
  options.on_nonfinite = FCC_NONFINITE_SKIP;
  Trainer trainer = open_trainer(options);
  train_epoch(trainer, kData, 0);
  auto before = all_states(trainer);
  std::vector<float> huge(40, 3e38f);  // the loss is finite, the moved weight is not
  trainer.set_lr(1e30);
  trainer.step(huge, kOnes);
  EXPECT_EQ(trainer.progress().skipped, 1);
  trainer.set_lr(0.1);
  EXPECT_EQ(std::isfinite(trainer.param("fc.weight").as<float>()[0]), true);
  auto after = all_states(trainer);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(after[i], before[i]) << i;  // all but the rates
}

TEST(NotFinite, RollbackReturnsToTheLastGoodCopy) {
  TrainerOptions options;
  options.on_nonfinite = FCC_NONFINITE_ROLLBACK;
  options.good_copy_steps = 4;
  Trainer trainer = open_trainer(options), other = open_trainer(options);
  train_epoch(trainer, kData, 0, 0, 6);
  train_epoch(other, kData, 0, 0, 4);
  trainer.step(with_infinity(), kOnes);
  EXPECT_EQ(trainer.progress().rolled_back, 1);
  EXPECT_EQ(trainer.progress().steps, 4);
  EXPECT_TRUE(all_states(trainer) == all_states(other));
  std::string text = error_of(FCC_NOT_FINITE, [&] {
    for (int i = 0; i < 20; ++i) trainer.step(with_infinity(), kOnes);
  });
  EXPECT_EQ(trainer.progress().rolled_back, 10);
  EXPECT_TRUE(all_states(trainer) == all_states(other));
}

TEST(NotFinite, BadWeightsAreNoticedBeforeTheyAreCopied) {
  TrainerOptions options;
  options.good_copy_steps = 3;
  Trainer trainer = open_trainer(options);
  train_epoch(trainer, kData, 0, 0, 3);
  auto good = all_states(trainer);
  trainer.param("fc.bias").as<float>()[1] = std::numeric_limits<float>::infinity();
  std::string text = error_of(FCC_NOT_FINITE, [&] { train_epoch(trainer, kData, 1); });
  EXPECT_NE(text.find("\"fc.bias\" holds an infinite or undefined value; the state is that of step 0"),
            std::string::npos)
      << text;
}

// ---- gradients ------------------------------------------------------------------------------------------------------

TEST(Gradients, OneMicroBatchIsAStep) {
  Trainer steps = open_trainer(), parts = open_trainer();
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    BatchOptions options;
    options.size = 20;
    for (auto [x, y] : batches(kData.x, kData.labels, options)) {
      double a = steps.step(x, y), b = parts.gradients(x, y);
      EXPECT_EQ(a, b);
      EXPECT_NE(parts.grad("fc.weight").as<float>()[0], 0.0f);
      parts.apply();
      EXPECT_EQ(parts.grad("fc.weight").as<float>()[0], 0.0f);
    }
  }
  EXPECT_TRUE(all_states(parts) == all_states(steps));
  EXPECT_EQ(parts.progress().steps, steps.progress().steps);
}

TEST(Gradients, InfiniteOnesAreNotApplied) {
  Trainer trainer = open_trainer();
  trainer.gradients(TensorRef(kData.x).rows(0, 8), TensorRef(kData.labels).rows(0, 8));
  trainer.grad("fc.bias").as<float>()[2] = std::numeric_limits<float>::quiet_NaN();
  auto weight = trainer.param("fc.weight").copy<float>();
  std::string text = error_of(FCC_NOT_FINITE, [&] { trainer.apply(); });
  EXPECT_NE(text.find("\"grad/fc.bias\" holds an infinite or undefined value"), std::string::npos) << text;
  EXPECT_EQ(trainer.param("fc.weight").copy<float>(), weight);
  EXPECT_EQ(trainer.grad("fc.bias").as<float>()[2], 0.0f);
}

TEST(Gradients, MissingEntriesSayHowToCompileThem) {
  Trainer trainer = open_trainer({}, "softmax_plain");
  EXPECT_NE(error_of(FCC_NOT_FOUND, [&] { trainer.apply(); }).find("fcc train --gradients"), std::string::npos);
}

// ---- rates, patterns ------------------------------------------------------------------------------------------------

TEST(Rates, GroupsKeepTheirRatio) {
  Trainer trainer = open_trainer();
  EXPECT_EQ(fcc_trainer_groups(trainer.handle()), 2u);
  EXPECT_DOUBLE_EQ(trainer.lr(0), 0.1);
  EXPECT_DOUBLE_EQ(trainer.lr(1), 0.2);
  trainer.set_lr(0.01);
  EXPECT_DOUBLE_EQ(trainer.lr(1), 0.02);
  trainer.set_lr(0.5, 1);
  EXPECT_DOUBLE_EQ(trainer.lr(0), 0.01);
  EXPECT_DOUBLE_EQ(trainer.lr(1), 0.5);
  error_of(FCC_BAD_ARGUMENT, [&] { trainer.lr(2); });
  error_of(FCC_BAD_ARGUMENT, [&] { trainer.set_lr(-1); });
}

TEST(Rates, SchedulesByStepAndByEpoch) {
  Trainer trainer = open_trainer();
  trainer.schedule("step(epochs=1, gamma=0.5)");
  train_epoch(trainer, kData, 0);
  EXPECT_DOUBLE_EQ(trainer.lr(), 0.1);
  EXPECT_DOUBLE_EQ(trainer.state("hyper/lr").as<double>()[0], 0.1);
  trainer.end_epoch(1);
  EXPECT_DOUBLE_EQ(trainer.lr(), 0.05);
  EXPECT_DOUBLE_EQ(trainer.lr(1), 0.1);
  trainer.schedule(std::string(Cosine{10, 0, 0, 0.0}));
  EXPECT_DOUBLE_EQ(trainer.lr(), 0.1);
  train_epoch(trainer, kData, 1, 0, 5);
  EXPECT_NEAR(trainer.lr(), 0.05, 1e-12);
  EXPECT_NE(error_of(FCC_BAD_ARGUMENT, [&] { trainer.schedule("cosine"); }).find("lacks its length"),
            std::string::npos);
  EXPECT_NEAR(trainer.lr(), 0.05, 1e-12);
}

TEST(Patterns, FrozenParametersStay) {
  Trainer trainer = open_trainer();
  train_epoch(trainer, kData, 0);
  EXPECT_EQ(trainer.freeze("bias"), 1u);
  auto bias = trainer.param("fc.bias").copy<float>(), slot = trainer.state("optim/fc.bias/m").copy<float>();
  auto weight = trainer.param("fc.weight").copy<float>();
  train_epoch(trainer, kData, 1);
  EXPECT_EQ(trainer.param("fc.bias").copy<float>(), bias);
  EXPECT_EQ(trainer.state("optim/fc.bias/m").copy<float>(), slot);
  EXPECT_NE(trainer.param("fc.weight").copy<float>(), weight);
  trainer.freeze("fc.bias", false);
  train_epoch(trainer, kData, 2);
  EXPECT_NE(trainer.param("fc.bias").copy<float>(), bias);
  EXPECT_NE(error_of(FCC_NOT_FOUND, [&] { trainer.freeze("head"); }).find("no parameter matches \"head\""),
            std::string::npos);
  EXPECT_NE(error_of(FCC_BAD_ARGUMENT, [&] { trainer.freeze("("); }).find("is no regular expression"),
            std::string::npos);
}

TEST(Patterns, ReinitDrawsAndClearsSlots) {
  Trainer trainer = open_trainer(), again = open_trainer();
  train_epoch(trainer, kData, 0);
  for (Trainer* t : {&trainer, &again}) {
    t->seed(11);
    EXPECT_EQ(t->reinit("fc", "default"), 2u);
  }
  auto weight = trainer.param("fc.weight").copy<float>(), bias = trainer.param("fc.bias").copy<float>();
  EXPECT_EQ(weight, again.param("fc.weight").copy<float>());
  EXPECT_EQ(bias, again.param("fc.bias").copy<float>());
  for (float w : weight) EXPECT_LE(std::abs(w), 0.5f);  // 1 / sqrt(4)
  for (float b : bias) EXPECT_LE(std::abs(b), 0.5f);
  EXPECT_EQ(trainer.state("optim/fc.weight/m").copy<float>(), std::vector<float>(12, 0.0f));
  EXPECT_EQ(trainer.reinit(".*", "kaiming_normal(nonlinearity=relu)"), 1u) << "a bias has no fan";
  EXPECT_EQ(trainer.param("fc.bias").copy<float>(), bias);
  error_of(FCC_BAD_ARGUMENT, [&] { trainer.reinit(".*", "kaiming"); });
  error_of(FCC_BAD_ARGUMENT, [&] { trainer.reinit(".*", "xavier_normal(gian=2)"); });
}

// ---- snapshots ------------------------------------------------------------------------------------------------------

TEST(Snapshot, KeepsItsWeightsWhileTrainingGoesOn) {
  Trainer trainer = open_trainer();
  auto before = trainer.predict(kData.x).copy<float>();
  Model frozen = trainer.snapshot();
  std::atomic<bool> stop{false}, same{true};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&] {
      Session session = frozen.session();
      do {
        auto outputs = session.run({{"x", View(kData.x.as<float>().data(), {203, 4})}});
        if (outputs["scores"].copy<float>() != before) same = false;
      } while (!stop);
    });
  for (int64_t epoch = 0; epoch < 20; ++epoch) train_epoch(trainer, kData, epoch);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_TRUE(same);
  EXPECT_NE(trainer.predict(kData.x).copy<float>(), before);
}

TEST(Snapshot, IsImmutable) {
  Trainer trainer = open_trainer();
  Model frozen = trainer.snapshot();
  SessionOptions options;
  options.entry = "train_step";
  EXPECT_NE(error_of(FCC_BAD_ARGUMENT, [&] { frozen.session(options); }).find("a snapshot is immutable"),
            std::string::npos);
  Session session = frozen.session();
  error_of(FCC_BAD_ARGUMENT, [&] { session.entry("train_step"); });
  error_of(FCC_BAD_ARGUMENT, [&] { session.reset_state(); });
  error_of(FCC_BAD_ARGUMENT, [&] { Trainer{frozen}; });
  session.entry("evaluate");
}

TEST(Threads, FourTrainersInFourThreads) {
  std::vector<std::vector<std::vector<char>>> states(4);
  Model model(train_model());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      Trainer trainer(model);
      for (int64_t epoch = 0; epoch < 5; ++epoch) train_epoch(trainer, kData, epoch);
      trainer.evaluate(kData.x, kData.labels);
      states[i] = all_states(trainer);
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(states[i], states[0]);
}

TEST(Threads, OneTrainerInTwoThreadsIsRefusedNotRaced) {
  Trainer trainer = open_trainer();
  std::atomic<int> busy{0};
  auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      TensorRef x = TensorRef(kData.x).rows(0, 64), y = TensorRef(kData.labels).rows(0, 64);
      fcc_tensor tensors[] = {x.raw(), y.raw()};
      fcc_status status = fcc_trainer_step(trainer.handle(), tensors, 2, nullptr);
      EXPECT_TRUE(status == FCC_OK || status == FCC_BUSY);
      busy += status == FCC_BUSY;
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(trainer.progress().steps, 400 - busy);
}

TEST(Export, PutsTheWeightsIntoTheSource) {
  Trainer trainer = open_trainer();
  train_epoch(trainer, kData, 0);
  std::string path = scratch("out.onnx");
  trainer.export_onnx(path);
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  auto weight = trainer.param("fc.weight").copy<float>(), bias = trainer.param("fc.bias").copy<float>();
  std::string expected = "head" + std::string(reinterpret_cast<char*>(weight.data()), 48) + "middle" +
                         std::string(reinterpret_cast<char*>(bias.data()), 12) + "tail";
  EXPECT_EQ(bytes, expected);
  EXPECT_NE(error_of(FCC_BAD_FILE, [&] { trainer.export_onnx("/nowhere/x.onnx"); }).find("/nowhere/x.onnx"),
            std::string::npos);
}

}  // namespace
}  // namespace fcc::test

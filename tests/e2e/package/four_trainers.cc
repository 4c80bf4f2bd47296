// Four threads train four copies of one model at once, on a shared thread pool, while each also predicts on a snapshot:
// all end with the same bits, and with those of a single thread. Run it under ThreadSanitizer.
#include <cstdio>
#include <fcc/train.hpp>
#include <thread>

namespace {

// Digits of a kind: ten blurred patterns in noise.
struct Patterns {
  fcc::Array images = fcc::Array::of<float>({512, 784}), labels = fcc::Array::of<int64_t>({512});
  Patterns() {
    fcc::Philox random(1, 0), pattern(2, 0);
    for (int64_t i = 0; i < 512; ++i) {
      labels.as<int64_t>()[static_cast<size_t>(i)] = i % 10;
      for (int64_t k = 0; k < 784; ++k) {
        double bright = pattern.uniform(static_cast<uint64_t>(i % 10 * 784 + k)) < 0.2;
        images.as<float>()[static_cast<size_t>(i * 784 + k)] =
            static_cast<float>(bright + 0.3 * random.uniform(static_cast<uint64_t>(i * 784 + k)));
      }
    }
  }
};

std::vector<float> trained(const fcc::Model& model, const fcc::Pool* pool, uint32_t threads, const Patterns& data) {
  fcc::TrainerOptions options;
  options.pool = pool;
  options.threads = threads;
  fcc::Trainer net(model, options);
  fcc::BatchOptions batch;
  batch.size = 64, batch.shuffle = true;
  auto batches = fcc::batches(data.images, data.labels, batch);
  fcc::Model first = net.snapshot();
  std::thread reader([&] {
    fcc::Session session = first.session({1});
    for (int i = 0; i < 5; ++i) session.run({{"image", fcc::View(data.images.as<float>().data(), {64, 784})}});
  });
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    batches.set_epoch(epoch);
    for (auto [x, y] : batches) net.step(x, y);
  }
  reader.join();
  auto judged = net.evaluate(data.images, data.labels);
  if (!(judged.accuracy > 0.9)) std::printf("accuracy %f\n", judged.accuracy);
  auto scores = net.predict(data.images).copy<float>();
  scores.push_back(judged.accuracy > 0.9 ? 1.0f : 0.0f);
  return scores;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const fcc::Model model(argv[1]);
  const Patterns data;
  const std::vector<float> expected = trained(model, nullptr, 1, data);
  fcc::Pool pool(4);
  std::vector<std::vector<float>> results(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) threads.emplace_back([&, t] { results[t] = trained(model, &pool, 4, data); });
  for (std::thread& thread : threads) thread.join();
  int wrong = expected.back() != 1.0f;
  for (const std::vector<float>& result : results) wrong += result != expected;
  std::printf("%d of 4 trainers differ from one alone\n", wrong);
  return wrong != 0;
} catch (const fcc::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

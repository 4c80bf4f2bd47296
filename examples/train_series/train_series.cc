// An LSTM learns to continue a time series, a noisy sum of three sines: it sees 40 values and says the next one.
//   fcc train examples/train_series/series.onnx -o series.so --loss mse --optimizer 'adam(lr=2e-2)' --clip-norm 1
//   example_train_series series.so [epochs]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "fcc/train.hpp"

namespace {

constexpr int64_t kWindow = 40;
constexpr double kNoise = 0.1, kPi = 3.14159265358979323846;

// Windows of one series, a step apart, and the value after each.
struct Windows {
  fcc::Array seen, next;  // [count,40,1], [count,1]
  Windows(int64_t count, int64_t start, uint64_t seed)
      : seen(fcc::Array::of<float>({count, kWindow, 1})), next(fcc::Array::of<float>({count, 1})) {
    fcc::Philox random(seed, 0);
    for (int64_t i = 0; i < count + kWindow; ++i) {
      float v = value(start + i, random, static_cast<uint64_t>(i));
      for (int64_t w = i < kWindow ? 0 : i - kWindow + 1; w <= i && w < count; ++w)
        seen.as<float>()[static_cast<size_t>(w * kWindow + i - w)] = v;
      if (i >= kWindow) next.as<float>()[static_cast<size_t>(i - kWindow)] = v;
    }
  }

 private:
  static float value(int64_t time, const fcc::Philox& random, uint64_t i) {
    double t = 2 * kPi * static_cast<double>(time);
    double noise = std::sqrt(-2 * std::log(1 - random.uniform(2 * i))) * std::cos(2 * kPi * random.uniform(2 * i + 1));
    return static_cast<float>(std::sin(t / 25) + 0.5 * std::sin(t / 61) + 0.3 * std::sin(t / 7) + kNoise * noise);
  }
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s net.so [epochs]\n", argv[0]);
    return 2;
  }
  int epochs = argc > 2 ? std::atoi(argv[2]) : 12;
  Windows train(2000, 0, 1), held(500, 5000, 2);
  auto net = fcc::Trainer::load(argv[1]);
  fcc::BatchOptions options;
  options.size = 64, options.shuffle = true, options.seed = 1;
  auto batches = fcc::batches(train.seen, train.next, options);
  net.schedule(fcc::Cosine{epochs * batches.count()});
  for (int epoch = 0; epoch < epochs; ++epoch) {
    double loss = 0;
    batches.set_epoch(epoch);
    for (auto [x, y] : batches) loss += net.step(x, y) * static_cast<double>(x.rows());
    auto judged = net.evaluate(held.seen, held.next);
    std::printf("epoch %d/%d  loss %.4f  val loss %.4f  off by %.0f %% of the noise\n", epoch + 1, epochs,
                loss / static_cast<double>(train.seen.rows()), judged.loss, 100 * std::sqrt(judged.loss) / kNoise);
  }
  net.export_onnx("series_trained.onnx");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

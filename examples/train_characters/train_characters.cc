// A character transformer learns to add: it reads "37+85=" and writes the sum backwards, "221".
//   fcc train examples/train_characters/characters.onnx -o characters.so --loss cross_entropy
//       --optimizer 'adamw(lr=3e-3,weight_decay=0.01)' --group '.*(bias|norm.*|position): weight_decay=0' --clip-norm 1
//   example_train_characters characters.so [epochs]
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "fcc/train.hpp"

namespace {

constexpr int64_t kLength = 8;      // characters seen: "37+85=22"; the model says what comes after each
constexpr int64_t kIgnored = -100;  // what comes before the "=" cannot be known, and is not judged

struct Sums {
  fcc::Array text, next;  // i64[count,8]: 0 to 9, 10 for "+", 11 for "="
  Sums(int64_t count, uint64_t seed)
      : text(fcc::Array::of<int64_t>({count, kLength})), next(fcc::Array::of<int64_t>({count, kLength})) {
    fcc::Philox random(seed, 0);
    for (int64_t i = 0; i < count; ++i) {
      auto a = static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * i), 100));
      auto b = static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * i + 1), 100)), c = a + b;
      int64_t all[] = {a / 10, a % 10, 10, b / 10, b % 10, 11, c % 10, c / 10 % 10, c / 100};
      for (int64_t k = 0; k < kLength; ++k) {
        text.as<int64_t>()[static_cast<size_t>(i * kLength + k)] = all[k];
        next.as<int64_t>()[static_cast<size_t>(i * kLength + k)] = k < 5 ? kIgnored : all[k + 1];
      }
    }
  }
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s net.so [epochs]\n", argv[0]);
    return 2;
  }
  int epochs = argc > 2 ? std::atoi(argv[2]) : 10;
  Sums train(8000, 1), held(1000, 2);
  auto net = fcc::Trainer::load(argv[1]);
  fcc::BatchOptions options;
  options.size = 64, options.shuffle = true;
  auto batches = fcc::batches(train.text, train.next, options);
  net.schedule("cosine(steps=" + std::to_string(epochs * batches.count() - 100) + ", warmup=100, warmup_start=0.01)");
  for (int epoch = 0; epoch < epochs; ++epoch) {
    double loss = 0;
    batches.set_epoch(epoch);
    for (auto [x, y] : batches) loss += net.step(x, y) * static_cast<double>(x.rows());
    auto judged = net.evaluate(held.text, held.next);
    std::printf("epoch %d/%d  loss %.4f  val loss %.4f  digits right %.2f %%\n", epoch + 1, epochs,
                loss / static_cast<double>(train.text.rows()), judged.loss, 100 * judged.accuracy);
  }
  net.export_onnx("characters_trained.onnx");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

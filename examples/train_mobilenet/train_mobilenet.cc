// A MobileNetV2 that knows some patterns learns four others: its body is frozen, a new head is trained. Draws its
// images.
//   fcc train examples/train_mobilenet/mobilenet.onnx -o mobilenet.so --trainable '^classifier' --bn-eval . \
//       --loss cross_entropy --optimizer 'adam(lr=3e-3)'
//   example_train_mobilenet mobilenet.so [epochs]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "fcc/train.hpp"

namespace {

constexpr int64_t kSize = 96, kPatterns = 4;
constexpr double kPi = 3.14159265358979323846;

// Waves, squares, spokes, spirals, from the phases along two axes: NEW of make_mobilenet.py.
bool bright(int64_t pattern, double a, double b) {
  if (pattern == 0) return std::sin(a + 2 * std::sin(b)) > 0;
  if (pattern == 1) return std::min(std::sin(a), std::sin(b)) > 0;
  double t = std::atan2(b, a);
  return pattern == 2 ? std::sin(10 * t) > 0 : std::sin(std::hypot(a, b) + 2 * t) > 0.3;
}

// Patterns of any angle, width and place, in two colours, with noise: f32[count,3,96,96] and i64[count].
struct Drawings {
  fcc::Array images, patterns;

  Drawings(int64_t count, uint64_t seed)
      : images(fcc::Array::of<float>({count, 3, kSize, kSize})), patterns(fcc::Array::of<int64_t>({count})) {
    for (int64_t i = 0; i < count; ++i) draw(i, seed);
  }
  void draw(int64_t i, uint64_t seed) {
    fcc::Philox random(seed, static_cast<uint64_t>(i));
    auto pattern = std::min<int64_t>(static_cast<int64_t>(kPatterns * random.uniform(0)), kPatterns - 1);
    double angle = 2 * kPi * random.uniform(1), scale = 2 * kPi / (8 + 8 * random.uniform(2));
    double cx = kSize * random.uniform(3), cy = kSize * random.uniform(4), c = std::cos(angle), s = std::sin(angle);
    double colours[2][3];  // of the ground, of what is bright
    for (uint64_t k = 0; k < 3; ++k) {
      colours[0][k] = 0.4 * random.uniform(5 + k);
      colours[1][k] = 0.6 + 0.4 * random.uniform(8 + k);
    }
    float* image = images.as<float>().data() + i * 3 * kSize * kSize;
    for (int64_t p = 0; p < kSize * kSize; ++p) {
      double dx = (static_cast<double>(p % kSize) + 0.5 - cx) * scale;
      double dy = (static_cast<double>(p / kSize) + 0.5 - cy) * scale;
      bool on = bright(pattern, dx * c + dy * s, dy * c - dx * s);
      for (int64_t k = 0; k < 3; ++k) {
        double noise = random.normal(static_cast<uint64_t>(11 + 3 * p + k));
        image[k * kSize * kSize + p] = static_cast<float>(colours[on][k] + 0.05 * noise);
      }
    }
    patterns.as<int64_t>()[static_cast<size_t>(i)] = pattern;
  }
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s net.so [epochs]\n", argv[0]);
    return 2;
  }
  int epochs = argc > 2 ? std::atoi(argv[2]) : 5;
  Drawings train(1024, 1), held(512, 2);
  auto net = fcc::Trainer::load(argv[1]);
  fcc::BatchOptions options;
  options.size = 32, options.shuffle = true;
  auto batches = fcc::batches(train.images, train.patterns, options);
  for (int epoch = 0; epoch < epochs; ++epoch) {
    double loss = 0;
    batches.set_epoch(epoch);
    for (auto [x, y] : batches) loss += net.step(x, y) * static_cast<double>(x.rows());
    auto judged = net.evaluate(held.images, held.patterns);
    std::printf("epoch %d/%d  loss %.4f  val loss %.4f  val accuracy %.2f %%\n", epoch + 1, epochs,
                loss / static_cast<double>(train.images.rows()), judged.loss, 100 * judged.accuracy);
  }
  net.export_onnx("mobilenet_trained.onnx");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

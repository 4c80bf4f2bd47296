// Learns which way a wedge points, from images that it draws itself: cosine and sine of the angle.
//   fcc train examples/train_orientation/orientation.onnx -o orientation.so --loss mse --optimizer 'adam(lr=1e-3)'
//   example_train_orientation orientation.so [epochs]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "fcc/train.hpp"

namespace {

constexpr int64_t kSize = 96;
constexpr double kPi = 3.14159265358979323846;

// Wedges at any place, of any size and angle, in noise: f32[count,1,96,96] and f32[count,2].
struct Wedges {
  fcc::Array images, directions;

  Wedges(int64_t count, uint64_t seed)
      : images(fcc::Array::of<float>({count, 1, kSize, kSize})), directions(fcc::Array::of<float>({count, 2})) {
    for (int64_t i = 0; i < count; ++i) draw(i, seed);
  }
  void draw(int64_t i, uint64_t seed) {
    fcc::Philox random(seed, static_cast<uint64_t>(i));
    double angle = 2 * kPi * random.uniform(0), half = kSize * (0.25 + 0.15 * random.uniform(1)) / 2;
    double cx = kSize * (0.35 + 0.3 * random.uniform(2)), cy = kSize * (0.35 + 0.3 * random.uniform(3));
    double c = std::cos(angle), s = std::sin(angle);
    float* pixel = images.as<float>().data() + i * kSize * kSize;
    for (int64_t y = 0; y < kSize; ++y)
      for (int64_t x = 0; x < kSize; ++x, ++pixel) {
        double dx = static_cast<double>(x) + 0.5 - cx, dy = static_cast<double>(y) + 0.5 - cy;
        double along = dx * c + dy * s, across = std::abs(dy * c - dx * s);
        bool inside = along > -half && along < half && across < (half - along) * 0.4;
        *pixel = static_cast<float>(inside + 0.1 * random.normal(static_cast<uint64_t>(4 + y * kSize + x)));
      }
    directions.as<float>()[static_cast<size_t>(2 * i)] = static_cast<float>(c);
    directions.as<float>()[static_cast<size_t>(2 * i + 1)] = static_cast<float>(s);
  }
};

double mean_degrees(const float* seen, const fcc::Array& directions) {
  double sum = 0;
  for (int64_t i = 0; i < directions.rows(); ++i) {
    double turn =
        std::atan2(seen[2 * i + 1], seen[2 * i]) - std::atan2(directions.value(2 * i + 1), directions.value(2 * i));
    sum += std::abs(std::remainder(turn, 2 * kPi)) * 180 / kPi;
  }
  return sum / static_cast<double>(directions.rows());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s net.so [epochs]\n", argv[0]);
    return 2;
  }
  int epochs = argc > 2 ? std::atoi(argv[2]) : 6;
  Wedges train(2048, 1), held(256, 2);
  auto net = fcc::Trainer::load(argv[1]);
  fcc::BatchOptions options;
  options.size = 32, options.shuffle = true;
  auto batches = fcc::batches(train.images, train.directions, options);
  for (int epoch = 0; epoch < epochs; ++epoch) {
    double loss = 0;
    batches.set_epoch(epoch);
    for (auto [x, y] : batches) loss += net.step(x, y) * static_cast<double>(x.rows());
    auto judged = net.evaluate(held.images, held.directions);
    auto seen = net.predict(held.images).as<float>();
    std::printf("epoch %d/%d  loss %.4f  val loss %.4f  off by %.2f degrees\n", epoch + 1, epochs,
                loss / static_cast<double>(train.images.rows()), judged.loss,
                mean_degrees(seen.data(), held.directions));
  }
  net.export_onnx("orientation_trained.onnx");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

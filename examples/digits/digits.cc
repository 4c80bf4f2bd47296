// Recognises 2,000 handwritten digits with a compiled classifier: accuracy first, then the time a digit takes.
//
//   fcc examples/digits/digits_mlp.onnx -o digits_mlp.so
//   example_digits digits_mlp.so [folder with the test IDX files]

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "fcc/fcc.hpp"

namespace {

constexpr int kPixels = 28 * 28;
constexpr int kClasses = 10;

// The bytes behind the header of an IDX file; the header is as long as its fourth byte says.
std::vector<uint8_t> read_idx(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < 4) throw std::runtime_error(path + ": no such file, or not an IDX file");
  size_t header = 4 + 4 * static_cast<size_t>(bytes[3]);
  if (bytes.size() < header) throw std::runtime_error(path + ": cut short");
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(header));
  return bytes;
}

struct Digits {
  std::vector<float> pixels;  // f32[count, 784] in 0..1
  std::vector<uint8_t> labels;
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
};

Digits load(const std::string& folder) {
  Digits digits;
  for (uint8_t pixel : read_idx(folder + "/test-images-idx3-ubyte")) digits.pixels.push_back(pixel / 255.0f);
  digits.labels = read_idx(folder + "/test-labels-idx1-ubyte");
  if (digits.pixels.size() != digits.labels.size() * kPixels) throw std::runtime_error("images and labels differ");
  return digits;
}

int64_t count_right(fcc::Session& session, const Digits& digits) {
  auto outputs = session.run({{"image", fcc::View(digits.pixels, {digits.count(), kPixels})}});
  auto scores = outputs["scores"].as<float>();
  int64_t right = 0;
  for (int64_t i = 0; i < digits.count(); ++i) {
    const float* row = scores.data() + i * kClasses;
    right += std::max_element(row, row + kClasses) - row == digits.labels[static_cast<size_t>(i)];
  }
  return right;
}

// Median time of a call, in microseconds. Bound once, so that a call is nothing but the network.
double median_call_us(fcc::Session& session, const Digits& digits, int64_t batch) {
  std::vector<float> scores(static_cast<size_t>(batch * kClasses));
  session.bind_input("image", digits.pixels.data(), {batch, kPixels});
  session.bind_output("scores", scores);
  for (int i = 0; i < 20; ++i) session.run();
  std::vector<double> times;
  using Clock = std::chrono::steady_clock;
  for (auto end = Clock::now() + std::chrono::milliseconds(300); Clock::now() < end;) {
    auto start = Clock::now();
    session.run();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  session.unbind_output("scores");
  return times[times.size() / 2];
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s model.so [folder with test-images-idx3-ubyte and test-labels-idx1-ubyte]\n",
                 argv[0]);
    return 2;
  }
  Digits digits = load(argc > 2 ? argv[2] : DIGITS_DIR);
  fcc::Model model(argv[1]);
  auto session = model.session();
  int64_t right = count_right(session, digits);
  std::printf("%lld of %lld digits right: %.2f %%\n", static_cast<long long>(right),
              static_cast<long long>(digits.count()),
              100.0 * static_cast<double>(right) / static_cast<double>(digits.count()));
  for (int64_t batch : {1, 64}) {
    double us = median_call_us(session, digits, batch);
    std::printf("batch %2lld: %8.2f us a call, %6.2f us a digit\n", static_cast<long long>(batch), us,
                us / static_cast<double>(batch));
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

// Trains a digit classifier, 784-128-64-10, on 8,000 digits: five lines of loop, no Python.
//   fcc train examples/digits/digits_mlp.onnx -o digits.so --loss cross_entropy --optimizer 'adam(lr=1e-3)'
//       --init default --dropout 'node_relu.*=0.2'
//   example_train_digits digits.so [epochs] [seed]
// Writes digits.safetensors, from which a run can be resumed, and digits_trained.onnx, which any tool reads.
#include <zlib.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "fcc/train.hpp"

namespace {

// gzread takes plain files as they are.
std::string read_gz(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot open " + path);
  std::string bytes;
  char block[1 << 16];
  for (int n; (n = gzread(file, block, sizeof block)) > 0;) bytes.append(block, static_cast<size_t>(n));
  gzclose(file);
  return bytes;
}

struct Digits {
  fcc::Array images, labels;  // f32[count, 28, 28] in 0..1, i64[count]
  Digits(const std::string& x, const std::string& y)
      : images(fcc::parse_idx(read_gz(x), x).to<float>(1 / 255.0)),
        labels(fcc::parse_idx(read_gz(y), y).to<int64_t>()) {}
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: %s net.so [epochs] [seed]\n", argv[0]);
    return 2;
  }
  int epochs = argc > 2 ? std::atoi(argv[2]) : 5;
  uint64_t seed = argc > 3 ? static_cast<uint64_t>(std::atoi(argv[3])) : 1;
  const std::string here = TRAIN_DIGITS_DIR "/", digits = TRAIN_DIGITS_DIR "/../digits/";
  Digits train(here + "train-images-idx3-ubyte.gz", here + "train-labels-idx1-ubyte.gz");
  Digits test(digits + "test-images-idx3-ubyte", digits + "test-labels-idx1-ubyte");

  auto net = fcc::Trainer::load(argv[1]);
  net.seed(seed);
  fcc::BatchOptions options;
  options.size = 64, options.shuffle = true, options.seed = seed;
  auto batches = fcc::batches(train.images, train.labels, options);
  for (int epoch = 0; epoch < epochs; ++epoch) {
    double loss = 0;
    batches.set_epoch(epoch);
    for (auto [x, y] : batches) loss += net.step(x, y) * static_cast<double>(x.rows());
    auto judged = net.evaluate(test.images, test.labels);
    std::printf("epoch %d/%d  loss %.4f  val loss %.4f  val accuracy %.2f %%\n", epoch + 1, epochs,
                loss / static_cast<double>(train.images.rows()), judged.loss, 100 * judged.accuracy);
    net.end_epoch(judged.loss);
    net.save("digits.safetensors");
  }
  net.export_onnx("digits_trained.onnx");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

// Learns the prices of houses, 8-64-32-1, on a market that market.h invents, and says by how much it is off.
//   fcc train examples/train_house_price/house_price.onnx -o house_price.so --loss mse --optimizer 'adam(lr=2e-3)'
//   example_train_house_price house_price.so [epochs]
// The same program trains the network with BatchNorm of examples/train_batchnorm, which is compiled otherwise.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "fcc/train.hpp"
#include "market.h"

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: %s net.so [epochs] [batch]\n", argv[0]);
    return 2;
  }
  int epochs = argc > 2 ? std::atoi(argv[2]) : 20;
  fcc::BatchOptions options;
  options.size = argc > 3 ? std::atoi(argv[3]) : 64;
  options.shuffle = true, options.seed = 1;
  Market market(8000, 1), held_market(2000, 2);
  Standardised train(market, market), held(held_market, market);
  double deviation = fcc::moments(market.prices).deviation[0];

  auto net = fcc::Trainer::load(argv[1]);
  auto batches = fcc::batches(train.houses, train.prices, options);
  net.schedule(fcc::Cosine{epochs * batches.count()});
  for (int epoch = 0; epoch < epochs; ++epoch) {
    double loss = 0;
    batches.set_epoch(epoch);
    for (auto [x, y] : batches) loss += net.step(x, y) * static_cast<double>(x.rows());
    auto judged = net.evaluate(held.houses, held.prices);
    auto predicted = net.predict(held.houses).as<float>();
    std::printf("epoch %d/%d  loss %.4f  val loss %.4f  off by %.2f thousand\n", epoch + 1, epochs,
                loss / static_cast<double>(train.houses.rows()), judged.loss,
                mean_error(predicted.data(), held.prices, deviation));
    net.end_epoch(judged.loss);
  }
  net.export_onnx("house_price_trained.onnx");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

// A housing market that a formula makes, standardised for a network: 8 numbers a house, and its price.
#pragma once

#include <cmath>

#include "fcc/data.hpp"

// Prices are in thousands.
struct Market {
  fcc::Array houses, prices;

  // area [m2], rooms, bathrooms, age [years], distance to the centre [km], floor, garden [0/1], energy class [0..6]
  Market(int64_t count, uint64_t seed)
      : houses(fcc::Array::of<float>({count, 8})), prices(fcc::Array::of<float>({count, 1})) {
    constexpr double kLow[] = {30, 1, 1, 0, 0.5, 0, 0, 0}, kHigh[] = {250, 8, 4, 100, 30, 10, 1, 6};
    constexpr bool kWhole[] = {false, true, true, false, false, true, true, true};
    fcc::Philox random(seed, 0);
    for (int64_t i = 0; i < count; ++i) {
      float* x = houses.as<float>().data() + 8 * i;
      for (int k = 0; k < 8; ++k) {
        double value = kLow[k] + (kHigh[k] - kLow[k]) * random.uniform(static_cast<uint64_t>(8 * i + k));
        x[k] = static_cast<float>(kWhole[k] ? std::round(value) : value);
      }
      prices.as<float>()[static_cast<size_t>(i)] = price(x);
    }
  }
  static float price(const float* x) {
    float per_metre = 1.2f + 4.0f * std::exp(-x[4] / 8.0f);
    float comfort = 1.0f + 0.03f * x[1] + 0.05f * (x[2] - 1) - 0.03f * x[7] + 0.01f * x[5];
    float wear = 0.7f + 0.3f * std::exp(-x[3] / 40.0f);
    return x[0] * per_metre * comfort * wear + x[6] * (20.0f + 2.0f * x[4]);
  }
};

// By the moments of the training data, as every user of the network must.
struct Standardised {
  fcc::Array houses, prices;
  Standardised(const Market& market, const Market& train)
      : houses(fcc::standardize(market.houses, fcc::moments(train.houses))),
        prices(fcc::standardize(market.prices, fcc::moments(train.prices))) {}
};

// Mean error in thousands.
inline double mean_error(const float* predicted, const fcc::Array& prices, double deviation) {
  double sum = 0;
  for (int64_t i = 0; i < prices.rows(); ++i) sum += std::abs(static_cast<double>(predicted[i]) - prices.value(i));
  return sum / static_cast<double>(prices.rows()) * deviation;
}

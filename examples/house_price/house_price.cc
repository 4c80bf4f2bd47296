// Asks a compiled regression model for the price of a few houses, and compares with the market it was trained on.
//
//   fcc examples/house_price/house_price.onnx -o house_price.so
//   example_house_price house_price.so

#include <array>
#include <cmath>
#include <cstdio>
#include <exception>
#include <vector>

#include "fcc/fcc.hpp"

namespace {

// Area, rooms, bathrooms, age, distance to the centre, floor, garden, energy class: as in export_house_price.py.
using House = std::array<float, 8>;

// The formula the training data came from, in thousands.
double market_price(const House& house) {
  auto [area, rooms, bathrooms, age, distance, floor, garden, energy] = house;
  double per_metre = 1.2 + 4.0 * std::exp(-distance / 8.0);
  double comfort = 1.0 + 0.03 * rooms + 0.05 * (bathrooms - 1) - 0.03 * energy + 0.01 * floor;
  double wear = 0.7 + 0.3 * std::exp(-age / 40.0);
  return area * per_metre * comfort * wear + garden * (20.0 + 2.0 * distance);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s model.so\n", argv[0]);
    return 2;
  }
  const std::vector<House> houses = {
      {45, 2, 1, 60, 1.5f, 4, 0, 5},  // a flat in an old town house
      {82, 3, 1, 12, 6, 2, 0, 2},     // a newer flat
      {140, 5, 2, 35, 14, 0, 1, 3},   // a family house with a garden
      {210, 7, 3, 1, 22, 0, 1, 0},    // a new house in the country
      {120, 4, 2, 0, 0.8f, 9, 0, 0},  // the top floor of a tower
  };
  fcc::Model model(argv[1]);
  auto session = model.session();
  auto count = static_cast<int64_t>(houses.size());
  auto outputs = session.run({{"house", fcc::View(houses.front().data(), {count, 8})}});
  auto prices = outputs["price"].as<float>();
  std::printf("  area rooms  age  distance   predicted     market\n");
  for (size_t i = 0; i < houses.size(); ++i)
    std::printf("%6.0f %5.0f %4.0f %9.1f %11.1f %10.1f\n", houses[i][0], houses[i][1], houses[i][3], houses[i][4],
                prices[i], market_price(houses[i]));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

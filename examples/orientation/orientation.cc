// Draws wedges at known angles and asks a compiled convolutional network which way they point.
//
//   fcc examples/orientation/orientation_narrow.onnx -o orientation.so
//   example_orientation orientation.so

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <vector>

#include "fcc/fcc.hpp"

namespace {

constexpr int kSize = 480;
constexpr double kPi = 3.14159265358979323846;

// A white wedge on black, f32[1,1,480,480], its tip in the direction of the angle; as in export_orientation.py.
void draw(std::vector<float>& image, double degrees, double radius, double x0, double y0) {
  double c = std::cos(degrees * kPi / 180), s = std::sin(degrees * kPi / 180);
  for (int y = 0; y < kSize; ++y)
    for (int x = 0; x < kSize; ++x) {
      double dx = (x - x0) / radius, dy = (y - y0) / radius;
      double along = dx * c + dy * s, across = dy * c - dx * s;
      bool inside = std::abs(along) <= 1 && std::abs(across) <= 0.25 * (1 - along);
      image[static_cast<size_t>(y * kSize + x)] = inside ? 1.0f : 0.0f;
    }
}

double turn_between(double a, double b) {
  return std::abs(std::remainder(a - b, 360.0));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s model.so\n", argv[0]);
    return 2;
  }
  fcc::Model model(argv[1]);
  auto session = model.session();
  std::vector<float> image(kSize * kSize);
  std::vector<float> direction(2);  // cosine and sine
  session.bind_input("image", image.data(), {1, 1, kSize, kSize});
  session.bind_output("direction", direction);
  session.run();  // the first call plans memory and starts the threads
  double error = 0, milliseconds = 0;
  int count = 0;
  for (int degrees = -165; degrees < 180; degrees += 30, ++count) {
    draw(image, degrees, 100 + 6 * count, 200 + 7 * count, 280 - 7 * count);
    auto start = std::chrono::steady_clock::now();
    session.run();
    milliseconds += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    double seen = std::atan2(direction[1], direction[0]) * 180 / kPi;
    error += turn_between(seen, degrees);
    std::printf("drawn at %4d degrees, seen at %7.2f\n", degrees, seen);
  }
  std::printf("mean error %.2f degrees, %.3f ms an image\n", error / count, milliseconds / count);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

#include <cstdio>
#include <vector>

#include <fcc/fcc.hpp>

int main(int, char** argv) try {
  fcc::Model model(argv[1]);
  fcc::Session session = model.session();
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
  auto outputs = session.run({{"x", x}});
  for (float p : outputs["probabilities"].as<float>()) std::printf("%.6f ", p);
  std::printf("\n");
} catch (const fcc::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

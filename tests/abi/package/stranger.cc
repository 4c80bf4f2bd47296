#include <cstdio>
#include <vector>

#include <fcc/fcc.hpp>
#ifdef WITH_tbb
#include <fcc/pool_tbb.h>
#endif
#ifdef WITH_openmp
#include <fcc/pool_openmp.h>
#endif

int main(int, char** argv) try {
  fcc::Model model(argv[1]);
  fcc::Session session = model.session();
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
  auto outputs = session.run({{"x", x}});
  for (float p : outputs["probabilities"].as<float>()) std::printf("%.6f ", p);
  std::printf("\n");
#ifdef WITH_tbb
  fcc::Pool tbb(fcc_tbb_pool(2));
  model.session({0, &tbb}).run({{"x", x}});
#endif
#ifdef WITH_openmp
  fcc::Pool openmp(fcc_openmp_pool(2));
  model.session({0, &openmp}).run({{"x", x}});
#endif
} catch (const fcc::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

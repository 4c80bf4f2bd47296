/* fcc.h used from C11: that it compiles is half of the test. Returns the sum of the outputs of fixed.so, or -1. */
#include <fcc/fcc.h>

float fcc_h_is_c(const char* path);
float fcc_h_is_c(const char* path) {
  fcc_library* library = 0;
  fcc_session* session = 0;
  float x[16] = {0}, y[16], sum = -1;
  const int64_t dims[] = {1, 16};
  fcc_tensor tensor = {x, FCC_F32, 2, dims, 0};
  if (fcc_library_open(path, &library) == FCC_OK && fcc_session_create(library, 0, &session) == FCC_OK &&
      fcc_session_bind_input(session, 0, &tensor) == FCC_OK &&
      fcc_session_bind_output(session, 0, FCC_F32, y, sizeof y) == FCC_OK && fcc_session_run(session) == FCC_OK) {
    sum = 0;
    for (int i = 0; i < 16; ++i) sum += y[i];
  }
  fcc_session_close(session);
  fcc_library_close(library);
  return sum;
}

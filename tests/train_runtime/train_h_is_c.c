/* train.h is C. */
#include "fcc/train.h"

int train_h_compiles_as_c(void);
int train_h_compiles_as_c(void) {
  fcc_trainer_options options = {sizeof options, 0, 0, FCC_NONFINITE_SKIP, 0};
  return (int)options.on_nonfinite;
}

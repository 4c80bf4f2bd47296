#pragma once
// The case lists, a function a family; all_cases() joins them in this order, which fixes their random operands.
#include "tests/grad/harness.h"

namespace fcc::test {

void add_pointwise_cases(std::vector<Case>&);
void add_linear_cases(std::vector<Case>&);
void add_reduction_cases(std::vector<Case>&);
void add_movement_cases(std::vector<Case>&);
void add_convolution_cases(std::vector<Case>&);
void add_pooling_cases(std::vector<Case>&);
void add_norm_cases(std::vector<Case>&);
void add_einsum_cases(std::vector<Case>&);
void add_index_cases(std::vector<Case>&);
void add_pad_cases(std::vector<Case>&);
void add_resize_cases(std::vector<Case>&);
void add_recurrent_cases(std::vector<Case>&);
void add_batch_training_cases(std::vector<Case>&);

}  // namespace fcc::test

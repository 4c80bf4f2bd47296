#pragma once
// NumPy's .npy files as tensors: how data enters and leaves the command line.
//
// Reads versions 1 to 3, dense C order, either byte order; element types are those of ir/types.h. bfloat16 has no
// NumPy type and travels as its raw bits in uint16 (see as_dtype). It refuses, with a sentence, what it would have to
// guess: Fortran order, pickled objects, records, strings, and a file shorter or longer than its header says.
#include <string>

#include "ir/tensor.h"

namespace fcc {

Result<Tensor> read_npy(const std::string& path);
// The same from memory; `path` is for messages.
Result<Tensor> parse_npy(std::span<const std::byte> bytes, const std::string& path);
Status write_npy(const std::string& path, const Tensor&);

// The tensor as `wanted`: unchanged when it has that type, uint16 bits taken as bf16, else refused with a hint that
// names the conversion in NumPy.
Result<Tensor> as_dtype(const Tensor&, DType wanted, const std::string& path);

}  // namespace fcc

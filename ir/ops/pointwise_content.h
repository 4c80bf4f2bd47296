#pragma once
// Shape arithmetic through pointwise operators: when the elements of all operands are known expressions, the
// operator's own formula is evaluated on them, so that no operator needs a rule of its own.
namespace fcc {
class InferContext;
void propagate_pointwise_content(InferContext&);  // sets out_contents[0] when it can
}  // namespace fcc

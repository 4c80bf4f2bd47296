// The order of the passes, with the reason for each place.
#include "passes/manager.h"

namespace fcc {

static constexpr std::string_view kPipeline[] = {
    "fold_constants",     // exporters leave Constant chains; later patterns want plain constants
    "fold_shapes",        // half of an open-batch export is shape arithmetic: gone before anything looks at it
    "simplify",
    "merge_equal",
    "recognize_norms",        // before anything changes how exporters spell them; equal subterms are merged by now
    "recognize_activations",  // fuse then sees one pointwise operator
    "canonicalize_pooling",
    "canonicalize_gemm",  // one matrix product form
    "canonicalize_einsum",
    "fold_batchnorm",     // needs constant weights beside it
    "expand_composites",
    "fold_constants",     // scaled weights, transposed weights
    "keep_rows",          // layer scales then sit behind their products
    "simplify",
    "fold_scale",         // constants meet: the weights take what is left of BatchNorm, attention's scale, layer scale
    "recognize_attention",  // the scales are in the weights by now; before packing hides the products
    "merge_projections",
    "lower_conv_transpose",  // its weights and bias hold everything by now
    "raise_rank",
    "simplify",
    "choose_layout",      // convolutions decide; everything between them follows
    "pack_rows",
    "pack_matmul",        // packing is a node: folded for constants, kept for run-time operands
    "pack_recurrent",
    "fold_constants",
    "merge_equal",
    "fuse",
    "materialize_outputs",  // last: from here on only Kernel nodes and views remain
};

std::span<const std::string_view> pipeline() { return kPipeline; }

}  // namespace fcc

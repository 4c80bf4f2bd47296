#pragma once
// Where those who build training steps out of passes look for add_gradients. It is in ir, because the front end needs
// it too: ONNX's Gradient operator names values of the graph that it stands in.
#include "ir/differentiate.h"

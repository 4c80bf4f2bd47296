#pragma once
// The text form of graphs: print is exact and parse gives the same program back. The grammar is in docs/graph_ir.md.
// Contents of constants above 32 elements are not in the text: they go to a pool beside it, by position.
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace fcc {

std::string print(const Graph&, std::vector<Tensor>* pool = nullptr);
// pool: what print collected; without it a large constant is filled with a fixed pseudo-random pattern (tests).
Result<Graph> parse_graph(std::string_view text, std::span<const Tensor> pool = {});

// Characters of a name that is written without backticks. Shared by printer and parser.
bool is_text_name_char(char c);

}  // namespace fcc

#pragma once
// The few drawings of the training report, as SVG text. Colours come from the page's style sheet.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/fit/report.h"

namespace fcc::svg {

std::string escaped(std::string_view text);
std::string figure(std::string_view caption, std::string_view drawing);

struct Series {
  std::string label, style;  // style: classes of the page
  std::vector<std::pair<double, double>> points;
};
enum class Axis { plain, percent, from_zero };
std::string lines(const std::vector<Series>&, Axis);

// Two distributions over one axis; `before` may be empty.
std::string histogram(const std::vector<float>& now, const std::vector<float>& before);

// Boxes by their depth from the inputs, edges downwards.
std::string graph(const std::vector<GraphBox>&);

}  // namespace fcc::svg

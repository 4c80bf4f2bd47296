#pragma once
// A training run as one HTML page: curves, confusion matrix, weights and activations by layer, the graph, time by step.
//
// Self-contained: no scripts, no fonts, no links; opens from a disk, an e-mail or a CI artefact, in light and dark. It
// draws what it is given; where the numbers come from is fit.h and look_inside below.
#include "tools/fit/fit.h"

namespace fcc {

struct ActivationPicture {
  std::string name, op, shape;
  double mean = 0, deviation = 0, zeros = 0;  // zeros: share of elements
  std::vector<float> values;                  // at most some thousands
};

struct GraphBox {
  std::string op, name, shape, parameters;  // parameters: "weight [128,784]" and so on
  std::vector<size_t> inputs;               // boxes; the first boxes are the model's inputs
};

struct Insight {
  std::vector<ActivationPicture> activations;
  std::vector<GraphBox> graph;
  std::string note;  // why something is missing
};

// Runs the exported model in the interpreter over the result's sample.
Result<Insight> look_inside(const FitResult&);

struct ReportHead {
  std::string model;                                          // the file's name
  std::vector<std::pair<std::string, std::string>> settings;  // loss, optimizer, batch size, ...
};
std::string report_html(const ReportHead&, const FitResult&, const Insight&);

}  // namespace fcc

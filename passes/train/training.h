#pragma once
// From an imported model to the graphs of a training library (docs/training.md): which constants become states, the
// model in training mode, the loss, the gradients, and the optimizer's step. Everything here is graph to graph; the
// driver schedules what comes out, and the usual passes run over it.
#include <functional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace fcc {

struct TrainOptions {
  std::string loss = "cross_entropy";
  std::string optimizer = "adam";
  std::vector<std::string> groups;     // "RE: lr*=0.1, weight_decay=0"
  std::vector<std::string> trainable;  // regular expressions: only these parameters are trained
  std::vector<std::string> freeze;     // these are not
  std::vector<std::string> dropout;    // "RE=p": put Dropout after the nodes that match; "off"
  std::vector<std::string> bn_eval;    // these BatchNormalizations keep their statistics
  std::vector<std::string> init;       // "RE=kaiming_normal(nonlinearity=relu)"
  std::string compat;                  // "torch", "onnx"; "": by the file's producer
  std::string producer;                // of the file
  bool keep_ties = false;
  bool gradients = false;                // entries gradients and apply too
  bool f64 = false;                      // compute in double
  double clip_norm = 0, clip_value = 0;  // 0: none
  int64_t seed = 0;
};

enum class StateRole : uint8_t { parameter, buffer, slot, hyper, gradient };

struct TrainingState {
  std::string name;
  TensorType type;
  Tensor initial;  // null: zeros
  StateRole role = StateRole::parameter;
  bool trainable = false;
  int32_t group = -1;  // of a trained parameter
};

struct ParameterGroup {
  std::string match;          // regular expression; "" for the first group, which takes what no other does
  std::string state;          // hyper/lr, hyper/lr.1
  double lr = 0, factor = 1;  // lr includes the factor
  std::vector<double> hyper;  // of the optimizer's table
};

struct TrainingTarget {
  std::string input, output, loss;
  int64_t classes = 0;  // > 0: the target is a class index
};

struct TrainingEntry {
  std::string name;
  Graph graph;
};

struct Training {
  std::vector<TrainingEntry> entries;  // infer first
  std::vector<TrainingState> states;   // every state of every entry
  std::vector<ParameterGroup> groups;
  std::vector<TrainingTarget> targets;
  std::string optimizer;  // complete text
  std::vector<std::string> notes;
};

// `early` brings a graph into the form that is differentiated: it runs the recognising passes.
using EarlyPasses = std::function<Status(Graph&)>;

// model: as imported. initializers: its weights by the file's names.
Result<Training> build_training(const Graph& model, const std::vector<std::pair<std::string, ValueId>>& initializers,
                                const TrainOptions&, const EarlyPasses& early);

// Before compiling: every parameter, and every node through which no gradient goes, with the parameters behind it.
struct TrainingCheck {
  struct Missing {
    Diagnostic reason;
    std::vector<std::string> behind;
  };
  std::vector<TrainingState> states;  // parameters and buffers
  std::vector<Missing> missing;
  std::vector<std::string> notes;
};
Result<TrainingCheck> check_training(const Graph& model,
                                     const std::vector<std::pair<std::string, ValueId>>& initializers,
                                     const TrainOptions&, const EarlyPasses& early);

}  // namespace fcc

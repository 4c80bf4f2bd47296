// Recurrent layers: every form of LSTM, GRU and RNN through their expansion, and RecurrentScan itself.
#include "tests/grad/cases.h"

namespace fcc::test {
namespace {

using Ints = std::vector<int64_t>;
using Strings = std::vector<std::string>;
constexpr int64_t kSteps = 3, kBatch = 2, kFeatures = 2, kHidden = 2;

Tensor lengths(Ints values) {
  Tensor t(DType::i32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) t.set_int(static_cast<int64_t>(i), values[i]);
  return t;
}

struct Layer {
  std::string op;
  Attrs attrs = {};
  Ints sequence_lens = {};
  bool bias = true, states = false, peephole = false;
  int32_t results = 2;
};

void add_layer(std::vector<Case>& cases, const Layer& l) {
  const int64_t gates = l.op == "LSTM" ? 4 : l.op == "GRU" ? 3 : 1;
  const int64_t d = l.attrs.string("direction", "forward") == "bidirectional" ? 2 : 1;
  const bool rows_first = l.attrs.flag("layout");
  const auto pair = [&](Ints a, Ints b) { return random(rows_first ? b : a, -1, 1); };
  Case c{l.op, {}, l.attrs, l.results, {}, false};
  c.in.resize(l.op == "LSTM" ? 8 : 6);
  c.in[0] = pair({kSteps, kBatch, kFeatures}, {kBatch, kSteps, kFeatures});
  c.in[1] = random({d, gates * kHidden, kFeatures}, -1, 1);
  c.in[2] = random({d, gates * kHidden, kHidden}, -1, 1);
  if (l.bias) c.in[3] = random({d, 2 * gates * kHidden}, -0.5, 0.5);
  if (!l.sequence_lens.empty()) c.in[4] = lengths(l.sequence_lens);
  if (l.states) c.in[5] = pair({d, kBatch, kHidden}, {kBatch, d, kHidden});
  if (l.states && l.op == "LSTM") c.in[6] = pair({d, kBatch, kHidden}, {kBatch, d, kHidden});
  if (l.peephole) c.in[7] = random({d, 3 * kHidden}, -1, 1);
  cases.push_back(std::move(c));
}

// RecurrentScan on its own: the operands that a mutation has to reach.
void add_scan(std::vector<Case>& cases, const std::string& cell, const Strings& functions, bool reset_after) {
  const int64_t gates = cell == "LSTM" ? 4 : cell == "GRU" ? 3 : 1;
  Case c{"RecurrentScan",
         {random({kSteps, kBatch, gates * kHidden}, -1, 1), random({gates, kHidden, kHidden}, -1, 1),
          random({1, kBatch, kHidden}, -1, 1)},
         {{"cell", cell},
          {"hidden", kHidden},
          {"reset_after", int64_t{reset_after}},
          {"final_rows", cell == "LSTM" ? int64_t{2} : int64_t{1}},
          {"functions", functions},
          {"alpha", std::vector<double>(functions.size(), 0.7)},
          {"beta", std::vector<double>(functions.size(), 0.4)}},
         1,
         {},
         false};
  c.in.resize(7);
  if (cell == "LSTM") c.in[3] = random({1, kBatch, kHidden}, -1, 1), c.in[5] = random({1, 3 * kHidden}, -1, 1);
  if (reset_after) c.in[6] = random({1, kHidden}, -1, 1);
  cases.push_back(std::move(c));
}

}  // namespace

void add_recurrent_cases(std::vector<Case>& cases) {
  const std::string both = "bidirectional", back = "reverse";
  const Attrs after{{"linear_before_reset", int64_t{1}}};
  const auto with = [](Attrs a, const std::string& key, AttrValue v) {
    a.set(key, std::move(v));
    return a;
  };
  for (const char* cell : {"RNN", "GRU", "LSTM"}) {
    const int32_t results = std::string(cell) == "LSTM" ? 3 : 2;
    const bool peephole = results == 3;
    add_layer(cases, {.op = cell, .bias = false, .results = 1});
    add_layer(cases, {.op = cell, .states = true, .peephole = peephole, .results = results});
    add_layer(cases,
              {.op = cell, .attrs = {{"direction", back}}, .states = true, .peephole = peephole, .results = results});
    add_layer(cases, {.op = cell,
                      .attrs = {{"direction", both}, {"layout", int64_t{1}}},
                      .states = true,
                      .peephole = peephole,
                      .results = results});
    add_layer(cases, {.op = cell,
                      .attrs = {{"direction", both}},
                      .sequence_lens = {2, 0},
                      .states = true,
                      .peephole = peephole,
                      .results = results});
    add_layer(
        cases,
        {.op = cell, .attrs = {{"direction", back}}, .sequence_lens = {1, 3}, .states = true, .results = results});
    if (!peephole) add_layer(cases, {.op = cell, .attrs = {{"clip", 0.4}}, .results = results});
  }
  add_layer(cases, {.op = "GRU", .attrs = after, .states = true});
  add_layer(cases, {.op = "GRU", .attrs = after, .bias = false, .results = 1});
  add_layer(cases, {.op = "GRU", .attrs = with(after, "direction", both), .sequence_lens = {2, 3}, .states = true});
  add_layer(cases, {.op = "GRU", .attrs = with(after, "direction", back)});
  add_layer(cases,
            {.op = "LSTM", .attrs = {{"input_forget", int64_t{1}}}, .states = true, .peephole = true, .results = 3});
  add_layer(cases,
            {.op = "GRU",
             .attrs = {{"direction", both}, {"activations", Strings{"HardSigmoid", "Softsign", "Sigmoid", "Elu"}}}});
  for (const Strings& f : {Strings{"Sigmoid", "Tanh", "Tanh"}, Strings{"Affine", "ScaledTanh", "Softsign"},
                           Strings{"Softplus", "Elu", "Sigmoid"}, Strings{"HardSigmoid", "Relu", "ThresholdedRelu"}})
    add_scan(cases, "LSTM", f, false);
  for (bool reset_after : {false, true}) {
    add_scan(cases, "GRU", {"Sigmoid", "Tanh"}, reset_after);
    add_scan(cases, "GRU", {"ScaledTanh", "Affine"}, reset_after);
    add_scan(cases, "GRU", {"Softplus", "LeakyRelu"}, reset_after);
  }
  add_scan(cases, "RNN", {"Tanh"}, false);
}

}  // namespace fcc::test

#include "passes/train/parameters.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "ir/op.h"
#include "passes/train/initialise.h"

namespace fcc {

Result<NamePattern> NamePattern::compile(const std::string& text, std::string_view option) {
  NamePattern p;
  p.text_ = text;
  try {
    p.regex_ = std::make_shared<const std::regex>(text, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& e) {
    return fail(std::string(option) + ": \"" + text + "\" is no regular expression: " + e.what());
  }
  return p;
}

bool NamePattern::matches(const std::string& name) const {
  return std::regex_search(name, *static_cast<const std::regex*>(regex_.get()));
}

Result<std::vector<NamePattern>> compile_all(const std::vector<std::string>& texts, std::string_view option) {
  std::vector<NamePattern> patterns;
  for (const std::string& t : texts) {
    FCC_TRY(NamePattern p, NamePattern::compile(t, option));
    patterns.push_back(std::move(p));
  }
  return patterns;
}

bool any_matches(const std::vector<NamePattern>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const NamePattern& p) { return p.matches(name); });
}

namespace {

enum class Use : uint8_t { none, parameter, buffer };

// What operand k of an operator is to training. Elementwise operators take vectors as biases and scales.
Use use_of(const Node& n, size_t k) {
  static const std::map<std::string_view, std::vector<size_t>> weights = {{"MatMul", {0, 1}},
                                                                          {"Gemm", {0, 1, 2}},
                                                                          {"Einsum", {0, 1, 2, 3}},
                                                                          {"Conv", {1, 2}},
                                                                          {"ConvTranspose", {1, 2}},
                                                                          {"BatchNormalization", {1, 2}},
                                                                          {"LayerNormalization", {1, 2}},
                                                                          {"RMSNormalization", {1}},
                                                                          {"InstanceNormalization", {1, 2}},
                                                                          {"GroupNormalization", {1, 2}},
                                                                          {"PRelu", {1}},
                                                                          {"Gather", {0}},
                                                                          {"LSTM", {1, 2, 3, 7}},
                                                                          {"GRU", {1, 2, 3}},
                                                                          {"RNN", {1, 2, 3}},
                                                                          {"Add", {0, 1}},
                                                                          {"Mul", {0, 1}}};
  if (n.op->name == "BatchNormalization" && (k == 3 || k == 4)) return Use::buffer;
  const auto it = weights.find(n.op->name);
  if (it == weights.end() || std::find(it->second.begin(), it->second.end(), k) == it->second.end()) return Use::none;
  return Use::parameter;
}

bool passes_through(const Node& n) {
  static const std::set<std::string_view> names = {"Identity", "Transpose", "Reshape", "Flatten",
                                                   "Squeeze",  "Unsqueeze", "Expand",  "Concat",
                                                   "Slice",    "Split",     "Cast"};
  return names.contains(n.op->name);
}

class Parameters {
 public:
  Parameters(Graph& g, const TrainOptions& options, std::vector<std::string>& notes)
      : g_(g), options_(options), notes_(notes) {}

  Result<std::vector<TrainingState>> run(const std::vector<std::pair<std::string, ValueId>>& initializers) {
    FCC_TRY(trainable_, compile_all(options_.trainable, "--trainable"));
    FCC_TRY(frozen_, compile_all(options_.freeze, "--freeze"));
    FCC_TRY(initialisers_, Initialisers::parse(options_.init, options_.seed));
    std::vector<std::pair<std::string, ValueId>> weights;
    for (const auto& [name, v] : initializers) {
      if (g_.value(v).dead || g_.value(v).role != Role::constant || !is_float(g_.value(v).type.dtype)) continue;
      weights.emplace_back(name, v);
      for (auto& alias : untie(name, v)) weights.push_back(std::move(alias));
    }
    std::vector<Tensor> first_values;  // all before any, because the fans of one follow from its neighbours
    for (const auto& [name, v] : weights) {
      FCC_TRY(Tensor t, initialisers_.value(g_, v, name));
      first_values.push_back(std::move(t));
    }
    for (size_t i = 0; i < weights.size(); ++i) convert(weights[i].first, weights[i].second, first_values[i]);
    for (const auto& [what, count] : untied_)
      notes_.push_back(what + (count > 1 ? " and " + std::to_string(count - 1) + " more" : ""));
    if (std::none_of(states_.begin(), states_.end(), [](const TrainingState& s) { return s.trainable; }))
      return fail("no parameter is left to train",
                  std::to_string(states_.size()) + " parameters and buffers, all frozen",
                  "see --trainable and --freeze; fcc check --train lists the parameters");
    return std::move(states_);
  }

 private:
  // Exporters keep equal tensors once. Uses through Identity carry the name of the tensor that was merged; vectors used
  // directly by nodes with different weights were merged too. A matrix used twice directly is really shared.
  std::vector<std::pair<std::string, ValueId>> untie(const std::string& name, ValueId v) {
    std::vector<std::pair<std::string, ValueId>> made;
    const std::vector<NodeId> users = unique_users(v);
    for (NodeId id : users) {
      const Node n = g_.node(id);
      if (n.op->name != "Identity") continue;
      const bool statistics = leads_to(n.out[0], Use::buffer);
      if (options_.keep_ties && !statistics) continue;
      if (users.size() == 1) continue;
      const std::string alias = g_.value(n.out[0]).name;
      const ValueId copy = duplicate(v, alias + ".untied");
      g_.replace_uses(n.out[0], copy);
      g_.erase(id);
      made.emplace_back(alias, copy);
      note("the exporter had merged \"" + alias + "\" with \"" + name +
           "\", which has equal values: they are trained apart (--keep-ties keeps them together)");
    }
    if (options_.keep_ties) return made;
    const std::vector<NodeId> direct = unique_users(v);
    const std::vector<std::vector<NodeId>> layers = by_layer(direct);
    const bool statistics = std::any_of(direct.begin(), direct.end(),
                                        [&](NodeId id) { return g_.node(id).op->name == "BatchNormalization"; });
    if (layers.size() < 2 || (g_.value(v).type.rank() >= 2 && !statistics) || one_module(direct, v)) {
      if (statistics) split_statistics(name, v, made);
      return made;
    }
    for (size_t i = 1; i < layers.size(); ++i) {
      const std::string alias = name + "." + std::to_string(i);
      const ValueId copy = duplicate(v, alias);
      for (NodeId id : layers[i]) replace_in(id, v, copy);
      made.emplace_back(g_.value(copy).name, copy);
      note("\"" + name + "\" was used by " + std::to_string(layers.size()) +
           " nodes with weights of their own: each trains its copy, \"" + alias +
           "\" (--keep-ties keeps them together)");
    }
    for (size_t i = 0, n = made.size(); i <= n; ++i) {
      const auto [own_name, own] = i == 0 ? std::pair(name, v) : made[i - 1];
      split_statistics(own_name, own, made);
    }
    return made;
  }

  // Users that belong together: exporters cut the vectors of recurrent layers into gates and put these together again,
  // which is one use by the layer that the parts end in.
  std::vector<std::vector<NodeId>> by_layer(const std::vector<NodeId>& users) const {
    std::map<std::set<NodeId>, size_t> known;
    std::vector<std::vector<NodeId>> layers;
    for (NodeId id : users) {
      std::set<NodeId> ends;
      find_ends(id, g_.node(id).op->name == "Slice" || g_.node(id).op->name == "Split", ends);
      const auto [it, fresh] = known.emplace(std::move(ends), layers.size());
      if (fresh) layers.emplace_back();
      layers[it->second].push_back(id);
    }
    return layers;
  }
  void find_ends(NodeId id, bool look_through, std::set<NodeId>& ends) const {
    if (!look_through) {
      ends.insert(id);
      return;
    }
    for (ValueId v : g_.node(id).out)
      for (NodeId user : unique_users(v)) find_ends(user, passes_through(g_.node(user)), ends);
  }

  // One tensor as scale and as running variance of the same node.
  void split_statistics(const std::string& name, ValueId v, std::vector<std::pair<std::string, ValueId>>& made) {
    for (NodeId id : unique_users(v)) {
      const Node n = g_.node(id);
      if (n.op->name != "BatchNormalization" || n.in.size() < 5) continue;
      for (size_t k = 3; k < 5; ++k) {
        if (n.in[k] != v || unique_uses(v) < 2) continue;
        const std::string alias = name + (k == 3 ? ".running_mean" : ".running_var");
        const ValueId copy = duplicate(v, alias);
        g_.set_operand(id, k, copy);
        made.emplace_back(g_.value(copy).name, copy);
        note("\"" + name + "\" was both weight and running statistic of a BatchNormalization: the statistic is \"" +
             alias + "\" now");
      }
    }
  }

  size_t unique_uses(ValueId v) const {
    size_t n = 0;
    for (NodeId id : unique_users(v))
      n += static_cast<size_t>(std::count(g_.node(id).in.begin(), g_.node(id).in.end(), v));
    return n;
  }

  // Do all these nodes use the same other weight too (or feed on a product with it)? Then a module is applied
  // repeatedly.
  bool one_module(const std::vector<NodeId>& users, ValueId v) const {
    std::set<ValueId> partners;
    for (NodeId id : users) partners.insert(partner(g_.node(id), v));
    return partners.size() == 1 && *partners.begin() != kNoValue;
  }
  ValueId partner(const Node& n, ValueId v) const {
    for (ValueId w : n.in)
      if (w != v && w != kNoValue && g_.is_constant(w) && g_.value(w).type.rank() >= 1 &&
          is_float(g_.value(w).type.dtype))
        return w;
    if (n.op->name != "Add") return kNoValue;
    for (ValueId w : n.in) {
      const Node* def = w == v ? nullptr : g_.def(w);
      if (def && (def->op->name == "MatMul" || def->op->name == "Gemm")) {
        for (ValueId x : def->in)
          if (x != kNoValue && g_.is_constant(x)) return x;
      }
    }
    return kNoValue;
  }

  ValueId duplicate(ValueId v, const std::string& name) { return g_.add_constant(name, g_.value(v).data); }
  void replace_in(NodeId id, ValueId from, ValueId to) {
    for (size_t k = 0; k < g_.node(id).in.size(); ++k)
      if (g_.node(id).in[k] == from) g_.set_operand(id, k, to);
  }
  void note(std::string text) {
    if (untied_.size() < 8)
      untied_.emplace_back(std::move(text), 1);
    else
      ++untied_.back().second;
  }

  std::vector<NodeId> unique_users(ValueId v) const {
    std::vector<NodeId> users;
    for (NodeId id : g_.users(v))
      if (std::find(users.begin(), users.end(), id) == users.end()) users.push_back(id);
    return users;
  }

  bool leads_to(ValueId v, Use wanted) const { return use(v) == wanted; }

  // The strongest use of a value, looking through movements.
  Use use(ValueId v) const {
    Use found = Use::none;
    for (NodeId id : unique_users(v)) {
      const Node& n = g_.node(id);
      for (size_t k = 0; k < n.in.size(); ++k) {
        if (n.in[k] != v) continue;
        Use u = use_of(n, k);
        if (n.op->formula && n.op->name != "PRelu" && constant_behind(v).data.elements() < 2 && !is_bias_of_one(n, k))
          u = Use::none;  // eps, 0.5, sqrt(d)
        if (n.op->formula && n.in.size() == 2 && g_.value(n.in[1 - k]).role == Role::input)
          u = Use::none;  // how inputs are scaled
        if (u == Use::none && passes_through(n) && (k == 0 || n.op->name == "Concat")) u = use(n.out[0]);
        found = std::max(found, u);
      }
    }
    return found;
  }
  // The bias of a layer with one output: a vector of one element, added to a product.
  bool is_bias_of_one(const Node& n, size_t k) const {
    const Node* other = n.in.size() == 2 ? g_.def(n.in[1 - k]) : nullptr;
    return n.op->name == "Add" && other && other->op->name == "MatMul" && g_.value(n.in[k]).type.rank() == 1;
  }
  const Value& constant_behind(ValueId v) const {
    while (g_.value(v).role != Role::constant && g_.def(v) && !g_.def(v)->in.empty()) v = g_.def(v)->in[0];
    return g_.value(v);
  }

  void convert(const std::string& name, ValueId v, const Tensor& first) {
    const Use u = use(v);
    const bool asked = any_matches(trainable_, name);
    if (u == Use::none && !asked) return;
    const Tensor data = u == Use::buffer ? g_.value(v).data : first;
    TrainingState s{name, g_.value(v).type, data, u == Use::buffer ? StateRole::buffer : StateRole::parameter, false,
                    -1};
    s.trainable = s.role == StateRole::parameter && (trainable_.empty() || asked) && !any_matches(frozen_, name);
    g_.rename(v, name + ".initial");
    const ValueId state = g_.add_state(name, s.type, data);
    s.name = g_.value(state).name;
    g_.replace_uses(v, state);
    states_.push_back(std::move(s));
  }

  Graph& g_;
  const TrainOptions& options_;
  std::vector<std::string>& notes_;
  std::vector<NamePattern> trainable_, frozen_;
  Initialisers initialisers_;
  std::vector<TrainingState> states_;
  std::vector<std::pair<std::string, int>> untied_;
};

}  // namespace

Result<std::vector<TrainingState>> make_states(Graph& g,
                                               const std::vector<std::pair<std::string, ValueId>>& initializers,
                                               const TrainOptions& options, std::vector<std::string>& notes) {
  return Parameters(g, options, notes).run(initializers);
}

}  // namespace fcc

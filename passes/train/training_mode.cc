#include "passes/train/training_mode.h"

#include <algorithm>
#include <map>

#include "ir/base/call_text.h"
#include "ir/op.h"
#include "passes/train/parameters.h"

namespace fcc {
namespace {

double ratio_of(const Graph& g, const Node& n) {
  if (n.in.size() < 2 || n.in[1] == kNoValue) return 0.5;
  return g.is_constant(n.in[1]) ? g.value(n.in[1]).data.get_double(0) : 0;
}

bool producer_is_torch(const TrainOptions& options) {
  if (!options.compat.empty()) return options.compat == "torch";
  return options.producer.empty() || options.producer.starts_with("pytorch");
}

struct DropoutRule {
  NamePattern pattern;
  double p;
};

// "RE=p", or "off".
Result<std::vector<DropoutRule>> dropout_rules(const std::vector<std::string>& texts, bool& off) {
  std::vector<DropoutRule> rules;
  for (const std::string& t : texts) {
    if (t == "off") {
      off = true;
      continue;
    }
    const size_t equals = t.rfind('=');
    if (equals == t.npos)
      return fail("--dropout \"" + t + "\": expected RE=p or off", "", "such as --dropout 'relu=0.2'");
    FCC_TRY(NamePattern pattern, NamePattern::compile(t.substr(0, equals), "--dropout"));
    FCC_TRY(const double p, parse_number(t.substr(equals + 1), "--dropout \"" + t + "\": the ratio"));
    if (!(p >= 0 && p < 1)) return fail("--dropout \"" + t + "\": the ratio must be at least 0 and below 1");
    rules.push_back({std::move(pattern), p});
  }
  return rules;
}

class TrainingMode {
 public:
  TrainingMode(Graph& g, const TrainOptions& options, const std::vector<std::pair<std::string, double>>& ratios,
               ValueId seed, ValueId step)
      : g_(g), options_(options), ratios_(ratios.begin(), ratios.end()), seed_(seed), step_(step) {}

  Result<ModeChange> run(std::vector<std::string>& notes) {
    bool off = false;
    FCC_TRY(std::vector<DropoutRule> rules, dropout_rules(options_.dropout, off));
    FCC_TRY(std::vector<NamePattern> keep, compile_all(options_.bn_eval, "--bn-eval"));
    std::vector<int64_t> matched(rules.size(), 0);
    for (NodeId id : g_.order()) {
      const Node n = g_.node(id);
      if (n.op->name == "BatchNormalization") FCC_CHECKED(batch_norm(id, keep));
      if (n.op->name == "Dropout" && !off) FCC_CHECKED(dropout_node(id, rules));
      if (n.op->name == "Dropout" || n.op->strategy == Strategy::none || off) continue;
      for (size_t r = 0; r < rules.size(); ++r)
        if (matches(rules[r].pattern, n)) {
          FCC_CHECKED(insert_after(id, rules[r].p));
          ++matched[r];
          break;
        }
    }
    for (size_t r = 0; r < rules.size(); ++r)
      if (matched[r] == 0 && !retuned_.contains(rules[r].pattern.text()))
        notes.push_back("--dropout \"" + rules[r].pattern.text() + "\" matches no node");
    return change_;
  }

 private:
  bool matches(const NamePattern& p, const Node& n) const {
    return (!n.loc.node.empty() && p.matches(n.loc.node)) || (!n.out.empty() && p.matches(g_.value(n.out[0]).name));
  }

  Status batch_norm(NodeId id, const std::vector<NamePattern>& keep) {
    const Node n = g_.node(id);
    if (std::any_of(keep.begin(), keep.end(), [&](const NamePattern& p) { return matches(p, n); })) return {};
    const ValueId mean = n.in[3], var = n.in[4];
    if (g_.value(mean).role != Role::state || g_.value(var).role != Role::state)
      return {};  // computed statistics: not ours to move
    ++change_.batch_norms;
    Attrs attrs = n.attrs;
    attrs.set("training_mode", int64_t{1});
    if (producer_is_torch(options_)) attrs.set("unbiased", int64_t{1});
    g_.set_insert_point(id);
    GraphBuilder b(g_, n.loc);
    const std::vector<ValueId> out = b.many("BatchNormalization", n.in, attrs, 3);
    g_.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    g_.replace_uses(n.out[0], out[0]);
    g_.erase(id);
    g_.updates.emplace_back(mean, out[1]);
    g_.updates.emplace_back(var, out[2]);
    return {};
  }

  Status dropout_node(NodeId id, const std::vector<DropoutRule>& rules) {
    const Node n = g_.node(id);
    double p = 0.5;
    if (auto it = ratios_.find(g_.value(n.out[0]).name); it != ratios_.end()) p = it->second;
    for (const DropoutRule& r : rules)
      if (matches(r.pattern, n)) {
        p = r.p;
        retuned_.insert({r.pattern.text(), true});
      }
    if (p == 0) return {};
    g_.set_insert_point(id);
    FCC_TRY(const ValueId y, dropped(n.in[0], p, n.loc));
    g_.set_insert_point(kNoNode);
    g_.replace_uses(n.out[0], y);
    return {};
  }

  Status insert_after(NodeId id, double p) {
    const ValueId x = g_.node(id).out[0];
    if (!is_float(g_.value(x).type.dtype) || p == 0) return {};
    const std::vector<NodeId> users = g_.users(x);
    const Loc loc = g_.node(id).loc;
    // What is added goes directly behind the node.
    const std::vector<NodeId> order = g_.order();
    const auto at = std::find(order.begin(), order.end(), id);
    g_.set_insert_point(at + 1 == order.end() ? kNoNode : *(at + 1));
    FCC_TRY(const ValueId y, dropped(x, p, loc));
    g_.set_insert_point(kNoNode);
    for (NodeId u : users)
      for (size_t k = 0; k < g_.node(u).in.size(); ++k)
        if (g_.node(u).in[k] == x) g_.set_operand(u, k, y);
    std::replace(g_.outputs.begin(), g_.outputs.end(), x, y);
    return {};
  }

  // x / (1-p) where a uniform number is at least p, else 0.
  Result<ValueId> dropped(ValueId x, double p, const Loc& loc) {
    GraphBuilder b(g_, loc);
    const TensorType type = b.type(x);
    const ValueId u = b("CounterUniform", {seed_, step_, b.dims(type.dims)}, {{"node", change_.dropouts++}});
    const ValueId keep = b("GreaterOrEqual", {u, b.scalar(DType::f32, p)});
    const ValueId y = b("Where", {keep, b("Mul", {x, b.scalar(type.dtype, 1 / (1 - p))}), b.scalar(type.dtype, 0)});
    FCC_CHECKED(b.status());
    change_.draws = true;
    return y;
  }

  Graph& g_;
  const TrainOptions& options_;
  std::map<std::string, double> ratios_;
  ValueId seed_, step_;
  ModeChange change_;
  std::map<std::string, bool> retuned_;
};

}  // namespace

std::vector<std::pair<std::string, double>> dropout_ratios(const Graph& g) {
  std::vector<std::pair<std::string, double>> ratios;
  for (NodeId id : g.order())
    if (const Node& n = g.node(id); n.op->name == "Dropout")
      ratios.emplace_back(g.value(n.out[0]).name, ratio_of(g, n));
  return ratios;
}

Status to_evaluation_mode(Graph& g) {
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    const bool dropout = n.op->name == "Dropout" && n.in.size() > 1;
    const bool batch_norm = n.op->name == "BatchNormalization" && n.attrs.flag("training_mode");
    if (!dropout && !batch_norm) continue;
    std::vector<ValueId> in = n.in;
    Attrs attrs = n.attrs;
    if (dropout) in.resize(1);
    attrs.erase("training_mode");
    for (size_t k = 1; batch_norm && k < n.out.size(); ++k)
      if (g.use_count(n.out[k]) > 0)
        return fail(describe(*n.op, n.loc) + ": its running statistics are used by the model", "",
                    "export the model without them as outputs");
    g.set_insert_point(id);
    FCC_TRY(NodeId made, g.add(*n.op, in, attrs, n.loc, {g.value(n.out[0]).name + ".eval"}, nullptr,
                               dropout ? static_cast<int32_t>(n.out.size()) : 1));
    g.set_insert_point(kNoNode);
    const std::string name = g.value(n.out[0]).name;
    for (size_t k = 0; k < g.node(made).out.size(); ++k) g.replace_uses(n.out[k], g.node(made).out[k]);
    g.erase(id);
    g.rename(g.node(made).out[0], name);
  }
  return {};
}

Result<ModeChange> to_training_mode(Graph& g, const TrainOptions& options,
                                    const std::vector<std::pair<std::string, double>>& ratios, ValueId seed,
                                    ValueId step, std::vector<std::string>& notes) {
  return TrainingMode(g, options, ratios, seed, step).run(notes);
}

}  // namespace fcc

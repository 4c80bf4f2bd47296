#include "ir/graph.h"

#include <algorithm>
#include <unordered_set>

#include "ir/op.h"

namespace fcc {

std::string_view name(Role r) {
  static constexpr std::string_view kNames[] = {"temp", "input", "const", "state"};
  return kNames[static_cast<size_t>(r)];
}

bool SymTensor::is_constant() const {
  return std::all_of(elements.begin(), elements.end(), [](const SymExpr& e) { return e.is_constant(); });
}

std::vector<int64_t> SymTensor::constants() const {
  std::vector<int64_t> v;
  for (const SymExpr& e : elements) v.push_back(e.constant());
  return v;
}

std::string describe(const OpDef& op, const Loc& loc) {
  std::string s(op.name);
  if (!loc.node.empty()) s += " \"" + loc.node + "\"";
  return s;
}

// ---- values ---------------------------------------------------------------------------------------------

std::string Graph::unique_name(std::string_view wanted) const {
  std::string base = wanted.empty() ? "v" : std::string(wanted);
  std::replace(base.begin(), base.end(), '`', '_');
  if (!names_.contains(base)) return base;
  auto it = names_.find(base);
  for (int32_t n = std::max(1, it->second);; ++n) {
    std::string candidate = base + "." + std::to_string(n);
    if (!names_.contains(candidate)) return candidate;
  }
}

ValueId Graph::new_value(std::string wanted, TensorType type, Role role) {
  Value v;
  v.name = unique_name(wanted);
  if (auto it = names_.find(wanted); it != names_.end()) ++it->second;  // next suffix to try
  names_.emplace(v.name, 1);
  v.type = std::move(type);
  v.role = role;
  values_.push_back(std::move(v));
  users_.emplace_back();
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::add_input(std::string input_name, TensorType type) {
  ValueId v = new_value(std::move(input_name), std::move(type), Role::input);
  inputs_.push_back(v);
  return v;
}

// The contents of a small whole-numbered tensor, for shape arithmetic.
static std::shared_ptr<const SymTensor> content_of(const Tensor& t) {
  if (t.rank() > 1 || t.elements() > kMaxSymElements) return nullptr;
  auto s = std::make_shared<SymTensor>();
  s->rank = t.rank();
  for (int64_t i = 0; i < t.elements(); ++i) {
    if (is_float(t.dtype())) {
      const double d = t.get_double(i);
      if (!(d >= -9e15 && d <= 9e15) || d != static_cast<double>(static_cast<int64_t>(d))) return nullptr;
      s->elements.emplace_back(static_cast<int64_t>(d));
    } else {
      s->elements.emplace_back(t.get_int(i));
    }
  }
  return s;
}

ValueId Graph::add_constant(std::string constant_name, Tensor data) {
  ValueId v = new_value(std::move(constant_name), data.type(), Role::constant);
  Value& value = values_.back();
  value.content = content_of(data);
  value.data = std::move(data);
  return v;
}

ValueId Graph::add_state(std::string state_name, TensorType type, Tensor initial) {
  ValueId v = new_value(std::move(state_name), std::move(type), Role::state);
  values_.back().data = std::move(initial);
  states_.push_back(v);
  return v;
}

void Graph::add_output(std::string output_name, ValueId v) {
  outputs.push_back(v);
  output_names.push_back(std::move(output_name));
}

const OpDef& Graph::op_of(ValueId v) const {
  const Node* n = def(v);
  FCC_CHECK(n, "{} has no defining node", value(v).name);
  return *n->op;
}

void Graph::rename(ValueId v, std::string wanted) {
  Value& value = values_.at(static_cast<size_t>(v));
  if (value.name == wanted) return;
  names_.erase(value.name);
  value.name = unique_name(wanted);
  names_.emplace(value.name, 1);
}

void Graph::set_type(ValueId v, TensorType type) { values_.at(static_cast<size_t>(v)).type = std::move(type); }

void Graph::set_content(ValueId v, SymTensor content, bool observed) {
  Value& value = values_.at(static_cast<size_t>(v));
  value.content = std::make_shared<const SymTensor>(std::move(content));
  value.observed |= observed;
}

SymExpr Graph::fresh_data_symbol() { return SymExpr::symbol("$" + std::to_string(data_symbols_++)); }

std::vector<std::string> Graph::symbols() const {
  std::vector<std::string> out;
  for (ValueId v : inputs_)
    for (const SymExpr& d : value(v).type.dims)
      for (const std::string& s : d.symbols())
        if (std::find(out.begin(), out.end(), s) == out.end()) out.push_back(s);
  return out;
}

// ---- nodes ----------------------------------------------------------------------------------------------

void Graph::link(NodeId n, NodeId before) {
  Link& l = links_[static_cast<size_t>(n)];
  l.next = before;
  l.prev = before == kNoNode ? last_ : links_[static_cast<size_t>(before)].prev;
  (l.prev == kNoNode ? first_ : links_[static_cast<size_t>(l.prev)].next) = n;
  (before == kNoNode ? last_ : links_[static_cast<size_t>(before)].prev) = n;
}

void Graph::unlink(NodeId n) {
  const Link l = links_[static_cast<size_t>(n)];
  (l.prev == kNoNode ? first_ : links_[static_cast<size_t>(l.prev)].next) = l.next;
  (l.next == kNoNode ? last_ : links_[static_cast<size_t>(l.next)].prev) = l.prev;
}

std::vector<NodeId> Graph::order() const {
  std::vector<NodeId> v;
  for (NodeId n = first_; n != kNoNode; n = links_[static_cast<size_t>(n)].next) v.push_back(n);
  return v;
}

// What a run says when the two differ. Data symbols have no names that a user knows.
static std::string broken_assumption(const SymExpr& a, const SymExpr& b) {
  for (const SymExpr& e : {a, b})
    for (const std::string& s : e.symbols())
      if (s.starts_with('$')) return ": an operand holds a number that does not fit the others";
  return ": extents " + a.text() + " and " + b.text() + " must be equal";
}

Result<NodeId> Graph::add(const OpDef& op, std::vector<ValueId> in, Attrs attrs, Loc loc, std::vector<std::string> result_names,
                          std::shared_ptr<const Graph> body, int32_t n_results) {
  while (!in.empty() && in.back() == kNoValue) in.pop_back();
  const size_t n_out = n_results >= 0 ? static_cast<size_t>(n_results) : std::max<size_t>(result_names.size(), 1);
  InferContext ctx(op, attrs, loc, in.size(), n_out);
  ctx.body = body.get();
  for (size_t k = 0; k < in.size(); ++k) {
    if (in[k] == kNoValue) continue;
    ctx.types_[k] = &value(in[k]).type;
    ctx.contents_[k] = value(in[k]).content;
  }
  ctx.fresh_symbol = [this] { return fresh_data_symbol(); };
  FCC_CHECKED(fcc::infer(ctx));
  for (size_t k : ctx.observed) set_content(in[k], *ctx.contents_[k], true);
  for (auto& [a, b] : ctx.assumed_equal) {
    const bool known = std::any_of(assumptions.begin(), assumptions.end(), [&](const Assumption& x) { return x.a == a && x.b == b; });
    if (!known) assumptions.push_back({a, b, describe(op, loc) + broken_assumption(a, b)});
  }

  Node node;
  node.op = &op;
  node.in = std::move(in);
  node.attrs = std::move(attrs);
  node.body = std::move(body);
  node.loc = std::move(loc);
  const auto id = static_cast<NodeId>(nodes_.size());
  for (size_t k = 0; k < n_out; ++k) {
    std::string wanted = k < result_names.size() ? result_names[k] : "";
    ValueId v = new_value(wanted.empty() ? "t" : wanted, std::move(ctx.out_types[k]), Role::temp);
    values_.back().def = id;
    values_.back().result = static_cast<int32_t>(k);
    values_.back().content = ctx.out_contents[k];
    node.out.push_back(v);
  }
  for (ValueId v : node.in)
    if (v != kNoValue) users_[static_cast<size_t>(v)].push_back(id);
  nodes_.push_back(std::move(node));
  links_.emplace_back();
  link(id, insert_before_);
  return id;
}

bool Graph::is_output(ValueId v) const { return std::find(outputs.begin(), outputs.end(), v) != outputs.end(); }

int64_t Graph::use_count(ValueId v) const {
  int64_t n = static_cast<int64_t>(users(v).size()) + std::count(outputs.begin(), outputs.end(), v);
  for (const auto& [state, next] : updates) n += next == v;
  return n;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  if (from == to) return;
  std::vector<NodeId> moved = std::move(users_[static_cast<size_t>(from)]);
  users_[static_cast<size_t>(from)].clear();
  for (NodeId n : moved) {
    for (ValueId& v : nodes_[static_cast<size_t>(n)].in)
      if (v == from) v = to;
    users_[static_cast<size_t>(to)].push_back(n);
  }
  std::replace(outputs.begin(), outputs.end(), from, to);
  for (auto& [state, next] : updates)
    if (next == from) next = to;
  Value &old = values_[static_cast<size_t>(from)], &fresh = values_[static_cast<size_t>(to)];
  if (!old.observed || fresh.observed) return;
  fresh.content = old.content;  // sizes elsewhere are written in the symbols that are read from it
  fresh.observed = true;
  old.observed = false;
}

static void remove_one(std::vector<NodeId>& users, NodeId n) {
  auto it = std::find(users.begin(), users.end(), n);
  FCC_CHECK(it != users.end(), "use list misses node {}", n);
  users.erase(it);
}

void Graph::set_operand(NodeId n, size_t k, ValueId v) {
  ValueId& slot = nodes_.at(static_cast<size_t>(n)).in.at(k);
  if (slot != kNoValue) remove_one(users_[static_cast<size_t>(slot)], n);
  slot = v;
  if (v != kNoValue) users_[static_cast<size_t>(v)].push_back(n);
}

void Graph::erase(NodeId n) {
  Node& node = nodes_.at(static_cast<size_t>(n));
  FCC_CHECK(!node.dead, "node {} erased twice", n);
  for (ValueId v : node.out) FCC_CHECK(use_count(v) == 0, "{} is still used", value(v).name);
  for (ValueId v : node.in)
    if (v != kNoValue) remove_one(users_[static_cast<size_t>(v)], n);
  for (ValueId v : node.out) {
    names_.erase(value(v).name);
    values_[static_cast<size_t>(v)].dead = true;
  }
  if (insert_before_ == n) insert_before_ = links_[static_cast<size_t>(n)].next;
  unlink(n);
  node = Node{.dead = true};
}

void Graph::erase_dead() {
  std::vector<bool> is_root(values_.size(), false);
  for (ValueId v : outputs) is_root[static_cast<size_t>(v)] = true;
  for (auto& [state, next] : updates) is_root[static_cast<size_t>(next)] = true;
  std::vector<NodeId> nodes = order();
  for (size_t i = nodes.size(); i-- > 0;) {
    const Node& n = node(nodes[i]);
    const bool used = std::any_of(n.out.begin(), n.out.end(),
                                  [&](ValueId v) { return is_root[static_cast<size_t>(v)] || value(v).observed || !users(v).empty(); });
    if (!used) erase(nodes[i]);
  }
  for (size_t v = 0; v < values_.size(); ++v) {
    if (values_[v].role != Role::constant || values_[v].dead || !users_[v].empty() || is_root[v] || values_[v].observed) continue;
    names_.erase(values_[v].name);
    values_[v].dead = true;
    values_[v].data = {};
  }
}

void Graph::move_before(NodeId n, NodeId before) {
  unlink(n);
  link(n, before);
}

}  // namespace fcc

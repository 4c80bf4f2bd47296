#include "backend/schedule.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "backend/joint_buffers.h"
#include "backend/lower/lower.h"
#include "backend/memory_plan.h"
#include "backend/plan_verify.h"
#include "ir/base/env.h"
#include "ir/loop/text.h"
#include "ir/loop/verify.h"
#include "ir/op.h"

namespace fcc::backend {

int64_t ConstantPool::add(const Tensor& t) {
  const std::string_view bytes(reinterpret_cast<const char*>(t.raw()), static_cast<size_t>(t.bytes()));
  const size_t hash = std::hash<std::string_view>()(bytes);
  auto [first, last] = by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    const ConstantImage& c = images_[it->second];
    if (c.data.bytes() == t.bytes() && std::memcmp(c.data.raw(), t.raw(), bytes.size()) == 0) return c.offset;
  }
  const int64_t offset = (bytes_ + FCC_ALIGNMENT - 1) / FCC_ALIGNMENT * FCC_ALIGNMENT;
  by_hash_.emplace(hash, images_.size());
  images_.push_back({offset, t});
  bytes_ = offset + t.bytes();
  return offset;
}

int64_t StatePool::add(const std::string& state_name, const TensorType& type, const Tensor& initial, fcc_state_role role) {
  auto [it, fresh] = by_name_.emplace(state_name, images_.size());
  if (!fresh) {
    FCC_CHECK(images_[it->second].type == type, "state {} is {} and {}", state_name, images_[it->second].type.text(), type.text());
    return images_[it->second].offset;
  }
  StateImage s{state_name, type, (bytes_ + FCC_ALIGNMENT - 1) / FCC_ALIGNMENT * FCC_ALIGNMENT, -1, role};
  const auto* bytes = initial.raw();
  if (bytes && std::any_of(bytes, bytes + initial.bytes(), [](std::byte b) { return b != std::byte{0}; })) s.init = constants_.add(initial);
  bytes_ = s.offset + type.elements().constant() * byte_size(type.dtype);
  images_.push_back(s);
  return s.offset;
}

namespace {

class Scheduler {
 public:
  Scheduler(const Graph& g, const Target& target, const SymbolBounds& bounds, VariantImage& variant, ConstantPool& pool, StatePool& states)
      : g_(g), target_(target), bounds_(bounds), variant_(variant), pool_(pool), states_(states), joint_(g) {
    for (size_t k = 0; k < variant.kernels.size(); ++k) known_.emplace(loop::canonical_text(variant.kernels[k]), k);
  }

  Result<EntryImage> run(std::string entry_name) {
    entry_.name = std::move(entry_name);
    FCC_CHECKED(inputs());
    for (size_t i = 0; i < g_.outputs.size(); ++i) {
      entry_.outputs.push_back({g_.output_names[i], g_.value(g_.outputs[i]).type});
      place_[storage_root(g_.outputs[i])] = ArgImage{FCC_OUTPUT, static_cast<uint32_t>(i), 0};
    }
    FCC_CHECKED(all_nodes());
    FCC_CHECKED(lifetimes());
    return std::move(entry_);
  }

 private:
  // ---- inputs and symbols
  Status inputs() {
    for (size_t i = 0; i < g_.inputs().size(); ++i) {
      const ValueId v = g_.inputs()[i];
      const Value& value = g_.value(v);
      TensorType type = value.type;
      for (size_t d = 0; d < type.dims.size(); ++d) FCC_CHECKED(input_dim(value, type.dims[d], i, d));
      entry_.inputs.push_back({value.name, std::move(type)});
      place_[v] = ArgImage{FCC_INPUT, static_cast<uint32_t>(i), 0};
    }
    for (size_t i = 0; i < checks_.size(); ++i) add_check(checks_[i].first, checks_[i].second);
    check_assumptions();
    for (ValueId v = 0; v < g_.value_count(); ++v)
      if (const Value& value = g_.value(v); value.observed && !value.dead && value.role != Role::temp) FCC_CHECKED(observe(v));
    return {};
  }

  static bool is_symbol(const SymExpr& e, std::string* symbol) {
    const std::vector<SymTerm> t = e.terms();
    if (t.size() != 1 || t[0].coefficient != 1 || t[0].atoms.size() != 1 || t[0].atoms[0]->kind != SymAtom::Kind::symbol) return false;
    *symbol = t[0].atoms[0]->name;
    return true;
  }

  Status input_dim(const Value& value, SymExpr& dim, size_t input, size_t axis) {
    if (dim.is_constant()) return {};
    std::string symbol;
    if (!is_symbol(dim, &symbol)) {  // an expression such as N+1: read what comes, then compare
      symbol = value.name + "." + std::to_string(axis);
      checks_.emplace_back(loop::binary(loop::BinaryOp::ne, loop::symbol(symbol), loop::from_sym(dim)),
                           "input \"" + value.name + "\": dim " + std::to_string(axis) + " must be " + dim.text());
      dim = SymExpr::symbol(symbol);
    }
    const bool known = std::any_of(entry_.symbols.begin(), entry_.symbols.end(), [&](const SymbolImage& s) { return s.name == symbol; });
    if (known) return {};
    SymbolImage s{symbol, false, static_cast<uint32_t>(input), static_cast<uint32_t>(axis), 0, INT64_MAX};
    if (auto it = bounds_.find(symbol); it != bounds_.end()) s.min = it->second.first, s.max = it->second.second;
    entry_.symbols.push_back(std::move(s));
    return {};
  }

  void add_check(const loop::Expr& condition, const std::string& text) {
    loop::Kernel k;
    k.name = "check";
    const loop::VarId t = k.add_var("t");
    k.body = {loop::for_loop(t, loop::index(0), loop::index(1), {loop::fault(condition, text)}, loop::LoopKind::tile)};
    StepImage s;
    s.kernel = kernel_index(std::move(k));
    s.flags = FCC_STEP_MAY_FAULT;
    s.name = "check";
    s.what = "check of an open dimension";
    entry_.steps.push_back(std::move(s));
  }

  // A step that reads the elements of a small tensor into symbols, directly after the tensor is complete.
  Status observe(ValueId v) {
    const Value& value = g_.value(v);
    if (value.content->elements.empty()) return {};
    loop::Kernel k;
    k.name = "observe";
    const loop::BufferId b = k.add_buffer({value.name, value.type.dtype, value.type.dims, loop::Space::input, false});
    k.n_params = 1;
    for (size_t i = 0; i < value.content->elements.size(); ++i) {
      std::string symbol;
      FCC_CHECK(is_symbol(value.content->elements[i], &symbol), "{} is observed as {}", value.name, value.content->elements[i].text());
      entry_.symbols.push_back({symbol, true, 0, 0, INT64_MIN, INT64_MAX});
      std::vector<loop::Expr> at;
      if (value.type.rank() == 1) at.push_back(loop::index(static_cast<int64_t>(i)));
      k.body.push_back(loop::define_symbol(symbol, loop::cast(DType::i64, loop::load(b, value.type.dtype, at))));
    }
    StepImage s;
    s.kernel = kernel_index(std::move(k));
    FCC_TRY(ArgImage arg, place(v));
    s.args = {arg};
    s.flags = FCC_STEP_DEFINES_SYMBOLS;
    s.name = value.name;
    s.what = "read sizes";
    entry_.steps.push_back(std::move(s));
    check_assumptions();
    return {};
  }

  // Checks that every symbol they mention has a value for, each once.
  void check_assumptions() {
    for (size_t i = 0; i < g_.assumptions.size(); ++i) {
      const Graph::Assumption& x = g_.assumptions[i];
      if (checked_.contains(i) || !defined(x.a) || !defined(x.b)) continue;
      checked_.insert(i);
      add_check(loop::binary(loop::BinaryOp::ne, loop::from_sym(x.a), loop::from_sym(x.b)), x.text);
    }
  }
  bool defined(const SymExpr& e) const {
    const std::vector<std::string> symbols = e.symbols();
    return std::all_of(symbols.begin(), symbols.end(), [&](const std::string& s) {
      return std::any_of(entry_.symbols.begin(), entry_.symbols.end(), [&](const SymbolImage& known) { return known.name == s; });
    });
  }

  // ---- memory
  static bool is_view(const Node& n) {
    const std::string_view s = n.op->name;
    return s == "Reshape" || s == "Flatten" || s == "Squeeze" || s == "Unsqueeze";
  }

  // The value whose memory v shares: through views to what a kernel, an input or a constant provides.
  ValueId storage_root(ValueId v) const {
    for (const Node* n = g_.def(v); n && is_view(*n); n = g_.def(v)) v = n->in[0];
    return v;
  }

  Result<ArgImage> place(ValueId v) {
    v = storage_root(v);
    if (auto it = place_.find(v); it != place_.end()) return it->second;
    if (const auto part = joint_.of(v)) {
      FCC_TRY(ArgImage whole, place(part->owner));
      return place_[v] = ArgImage{whole.space, whole.index, whole.offset + part->offset()};
    }
    const Value& value = g_.value(v);
    if (value.role == Role::constant) return place_[v] = ArgImage{FCC_CONSTANT, 0, pool_.add(value.data)};
    if (value.role == Role::state) return place_[v] = ArgImage{FCC_STATE, 0, states_.offset_of(value)};
    FCC_CHECK(value.role == Role::temp, "{} has no memory", value.name);
    BufferImage b;
    b.bytes = value.type.elements() * byte_size(value.type.dtype);
    entry_.buffers.push_back(std::move(b));
    return place_[v] = ArgImage{FCC_BUFFER, static_cast<uint32_t>(entry_.buffers.size() - 1), 0};
  }

  // ---- steps
  uint32_t kernel_index(loop::Kernel k) {
    if (verify_) {
      const Status s = loop::verify(k);
      FCC_CHECK(s.has_value(), "{}\n{}", s.error().text(), loop::print(k));
    }
    std::string key = loop::canonical_text(k);
    auto [it, fresh] = known_.emplace(std::move(key), variant_.kernels.size());
    if (fresh) {
      k.name += "_" + std::to_string(variant_.kernels.size());
      variant_.kernels.push_back(std::move(k));
    }
    return static_cast<uint32_t>(it->second);
  }

  static bool may_fault(const loop::Kernel& k) {
    bool found = false;
    loop::walk(k.body, [&](const loop::Stmt& s) { found |= s.kind == loop::StmtKind::fault; });
    return found;
  }

  // ---- order: that of the graph, but kernels which write states wait for what must come before them
  struct Update {
    ValueId state = kNoValue, next = kNoValue;  // next: the value that owns the memory
  };

  Status all_nodes() {
    const std::vector<NodeId> order = g_.order();
    collect_updates(order);
    if (updates_.empty()) {
      for (NodeId n : order) FCC_CHECKED(node(n));
      return {};
    }
    for (NodeId n : order)  // lowered first, because a step that may fault precedes every step that writes a state
      if (!is_view(g_.node(n)) && !joint_.is_placed(n) && !updates_of_.contains(n)) FCC_CHECKED(lower(n));
    for (NodeId n : order)
      if (auto it = lowered_.find(n); it != lowered_.end() && may_fault(it->second)) faults_ahead_.insert(n);
    const std::set<NodeId> early = serves_updates_only(order);
    std::vector<NodeId> waiting, updating(early.begin(), early.end());
    std::sort(updating.begin(), updating.end(), [&](NodeId a, NodeId b) { return position_.at(a) < position_.at(b); });
    for (NodeId n : order) {
      if (early.contains(n)) continue;
      waiting.push_back(n);
      FCC_CHECKED(run_ready(waiting));
      FCC_CHECKED(run_ready(updating));
    }
    waiting.insert(waiting.end(), updating.begin(), updating.end());
    FCC_CHECKED(run_ready(waiting));
    while (!waiting.empty()) {  // a state is read after its next value: that one goes through a temporary
      give_up_one(waiting);
      FCC_CHECKED(run_ready(waiting));
    }
    return copy_back();
  }

  // Kernels that write states, and those whose results only they read: weight gradients, the optimizer's scalars. They
  // run as soon as they can, so that a gradient is consumed before the next one takes memory.
  std::set<NodeId> serves_updates_only(const std::vector<NodeId>& order) {
    std::set<NodeId> found;
    for (size_t i = order.size(); i-- > 0;) {
      position_[order[i]] = i;
      const Node& n = g_.node(order[i]);
      const bool serves = updates_of_.contains(order[i]) || std::all_of(n.out.begin(), n.out.end(), [&](ValueId v) {
        const std::vector<NodeId>& users = g_.users(v);
        return !g_.value(v).observed && !users.empty() && static_cast<int64_t>(users.size()) == g_.use_count(v) &&
               std::all_of(users.begin(), users.end(), [&](NodeId u) { return found.contains(u); });
      });
      if (serves) found.insert(order[i]);
    }
    return found;
  }

  void collect_updates(const std::vector<NodeId>& order) {
    std::map<ValueId, std::vector<NodeId>> readers;
    for (NodeId id : order) {
      const Node& n = g_.node(id);
      if (is_view(n)) continue;
      for (ValueId v : n.in)
        if (v != kNoValue && g_.value(storage_root(v)).role == Role::state) readers[storage_root(v)].push_back(id);
    }
    for (const auto& [state, next] : g_.updates) {
      if (state == next) continue;
      const ValueId root = storage_root(next);
      updates_.push_back({state, root});
      const NodeId writer = g_.value(root).def;
      if (place_.contains(root) || writer == kNoNode) continue;  // an output of the model too: copied from there
      for (NodeId reader : readers[state])
        if (reader != writer) readers_ahead_[state].insert(reader);
      updates_of_[writer].push_back(updates_.size() - 1);
    }
  }

  // Which operand, when any, holds the state that this kernel makes the next value of; nothing when the kernel reads
  // it other than element by element.
  bool in_place_pairs(const Node& n, const std::vector<size_t>& updates, InPlace& pairs) const {
    for (size_t u : updates) {
      for (size_t k = 0; k < n.in.size(); ++k) {
        if (storage_root(n.in[k]) != updates_[u].state) continue;
        const auto result = static_cast<size_t>(g_.value(updates_[u].next).result);
        const bool same = g_.value(n.in[k]).type == g_.value(n.out[result]).type;
        const bool taken = std::any_of(pairs.begin(), pairs.end(), [&](const auto& p) { return p.second == result; });
        if (!same || taken || !may_update_in_place(*n.body, k)) return false;
        pairs.emplace_back(k, result);
      }
    }
    return true;
  }

  bool ready(NodeId id) const {
    const Node& n = g_.node(id);
    for (ValueId v : n.in)
      if (v != kNoValue && g_.value(v).def != kNoNode && !done_.contains(g_.value(v).def)) return false;
    auto it = updates_of_.find(id);
    if (it == updates_of_.end()) return true;
    if (!faults_ahead_.empty()) return false;
    return std::all_of(it->second.begin(), it->second.end(), [&](size_t u) {
      auto ahead = readers_ahead_.find(updates_[u].state);
      return ahead == readers_ahead_.end() || ahead->second.empty();
    });
  }

  Status run_ready(std::vector<NodeId>& waiting) {
    for (bool again = true; again;) {
      again = false;
      for (size_t i = 0; i < waiting.size(); ++i) {
        const NodeId id = waiting[i];
        if (!ready(id)) continue;
        waiting.erase(waiting.begin() + static_cast<int64_t>(i));
        FCC_CHECKED(node(id));
        done_.insert(id);
        for (auto& [state, ahead] : readers_ahead_) ahead.erase(id);
        again = true;
        break;
      }
    }
    return {};
  }

  void give_up_one(const std::vector<NodeId>& waiting) {
    for (NodeId id : waiting) {
      auto it = updates_of_.find(id);
      if (it == updates_of_.end()) continue;
      updates_of_.erase(it);
      return;
    }
    FCC_UNREACHABLE("{} steps wait for each other", waiting.size());
  }

  // States whose next value lies elsewhere get it when everything else is done.
  Status copy_back() {
    for (const Update& u : updates_) {
      const Value& state = g_.value(u.state);
      FCC_TRY(ArgImage from, place(u.next));
      const ArgImage to{FCC_STATE, 0, states_.offset_of(state)};
      if (from.space == to.space && from.offset == to.offset) continue;
      loop::Kernel k;
      k.name = "copy_back";
      const SymExpr elements = state.type.elements();
      const loop::BufferId in = k.add_buffer({"next", state.type.dtype, {elements}, loop::Space::input, false});
      const loop::BufferId out = k.add_buffer({"state", state.type.dtype, {elements}, loop::Space::output, false});
      k.n_params = 2;
      k.bytes = elements * (2 * byte_size(state.type.dtype));
      const loop::VarId t = k.add_var("t"), i = k.add_var("i");
      k.body = {loop::for_loop(t, loop::index(0), loop::index(1),
                               {loop::for_loop(i, loop::index(0), loop::from_sym(elements),
                                               {loop::store(out, {loop::var(i)}, loop::load(in, state.type.dtype, {loop::var(i)}))}, loop::LoopKind::vec, 16)},
                               loop::LoopKind::tile)};
      StepImage s;
      s.bytes = k.bytes;
      s.work_ns = work_ns(k);
      s.name = state.name;
      s.what = "Copy " + k.name;
      s.args = {from, to};
      s.kernel = kernel_index(std::move(k));
      entry_.steps.push_back(std::move(s));
    }
    return {};
  }

  Status lower(NodeId id) {
    const Node& n = g_.node(id);
    FCC_CHECK(n.op->strategy == Strategy::kernel, "{} reached the scheduler", describe(*n.op, n.loc));
    InPlace in_place;
    if (auto it = updates_of_.find(id); it != updates_of_.end()) {
      if (in_place_pairs(n, it->second, in_place)) {
        for (size_t u : it->second) place_[updates_[u].next] = ArgImage{FCC_STATE, 0, states_.offset_of(g_.value(updates_[u].state))};
      } else {
        in_place.clear();
      }
    }
    std::vector<int64_t> blocks;
    if (in_place.empty()) {
      for (ValueId v : n.in) blocks.push_back(joint_.image_blocks(v));
      for (ValueId v : n.out) blocks.push_back(joint_.image_blocks(v));
    }
    FCC_TRY(loop::Kernel k, lower_kernel(g_, n, target_, blocks, in_place));
    FCC_CHECK(in_place.empty() || !may_fault(k), "{} may stop the run while it changes a state", k.name);
    lowered_.emplace(id, std::move(k));
    in_place_[id] = std::move(in_place);
    return {};
  }

  Status node(NodeId id) {
    const Node& n = g_.node(id);
    if (is_view(n)) {
      for (ValueId v : n.out)
        if (g_.value(v).observed) FCC_CHECKED(observe(v));
      return {};
    }
    if (joint_.is_placed(id)) return {};
    if (!lowered_.contains(id)) FCC_CHECKED(lower(id));
    loop::Kernel k = std::move(lowered_.at(id));
    const InPlace& in_place = in_place_.at(id);
    faults_ahead_.erase(id);
    StepImage s;
    s.tiles = k.tiles;
    s.flops = k.flops;
    s.bytes = k.bytes;
    s.work_ns = work_ns(k);
    s.flags = may_fault(k) ? FCC_STEP_MAY_FAULT : 0;
    s.name = n.loc.node.empty() ? g_.value(n.out[0]).name : n.loc.node;
    s.what = n.attrs.string("what") + " " + k.name;
    for (ValueId v : n.in) {
      FCC_TRY(ArgImage a, place(v));
      s.args.push_back(a);
    }
    for (size_t r = 0; r < n.out.size(); ++r) {
      FCC_TRY(ArgImage out, place(n.out[r]));
      if (std::none_of(in_place.begin(), in_place.end(), [&](const auto& pair) { return pair.second == r; })) s.args.push_back(out);
    }
    s.kernel = kernel_index(std::move(k));
    entry_.steps.push_back(std::move(s));
    for (ValueId v : n.out)
      if (g_.value(v).observed) FCC_CHECKED(observe(v));
    return {};
  }

  // One core's time: arithmetic at half of the vector peak (3 GHz, two ports), memory at 40 GB/s, which lies between L3
  // (28 to 90) and what is left of L2 (106 to 175) when the tensors of several steps share it.
  SymExpr work_ns(const loop::Kernel& k) const {
    const int64_t flops_per_ns = std::max<int64_t>(1, target_.vector_bytes / 4 * 2 * 2 * 3 / 2);
    return floordiv(k.flops, flops_per_ns) + floordiv(k.bytes, 40);
  }

  Status lifetimes() {
    std::vector<bool> seen(entry_.buffers.size(), false);
    for (uint32_t i = 0; i < entry_.steps.size(); ++i)
      for (const ArgImage& a : entry_.steps[i].args) {
        if (a.space != FCC_BUFFER) continue;
        BufferImage& b = entry_.buffers[a.index];
        if (!seen[a.index]) b.first_step = i;
        b.last_step = i;
        seen[a.index] = true;
      }
    const bool fixed = std::all_of(entry_.buffers.begin(), entry_.buffers.end(), [](const BufferImage& b) { return b.bytes.is_constant(); });
    if (!fixed) return {};
    std::vector<BufferLife> lives;
    for (const BufferImage& b : entry_.buffers) lives.push_back({b.bytes.constant(), b.first_step, b.last_step});
    const MemoryPlan plan = plan_memory(lives);
    FCC_CHECKED(verify_plan(lives, plan));
    for (size_t i = 0; i < lives.size(); ++i) entry_.buffers[i].offset = plan.offsets[i];
    entry_.workspace_bytes = plan.bytes;
    return {};
  }

  const Graph& g_;
  const Target& target_;
  const SymbolBounds& bounds_;
  VariantImage& variant_;
  ConstantPool& pool_;
  StatePool& states_;
  JointBuffers joint_;
  EntryImage entry_;
  std::vector<Update> updates_;
  std::map<NodeId, std::vector<size_t>> updates_of_;        // by the node that makes the next value
  std::map<ValueId, std::set<NodeId>> readers_ahead_;       // of a state: who must run before it changes
  std::map<NodeId, loop::Kernel> lowered_;
  std::map<NodeId, InPlace> in_place_;
  std::set<NodeId> done_;
  std::map<NodeId, size_t> position_;
  std::set<NodeId> faults_ahead_;  // steps that may stop the run, not placed yet
#ifdef NDEBUG
  bool verify_ = env("FCC_VERIFY") == "1";
#else
  bool verify_ = true;
#endif
  std::map<ValueId, ArgImage> place_;
  std::map<std::string, size_t> known_;
  std::vector<std::pair<loop::Expr, std::string>> checks_;
  std::set<size_t> checked_;  // assumptions
};

}  // namespace

Result<EntryImage> schedule(const Graph& g, std::string entry_name, const Target& target, const SymbolBounds& bounds, VariantImage& variant,
                            ConstantPool& pool, StatePool& states) {
  return Scheduler(g, target, bounds, variant, pool, states).run(std::move(entry_name));
}

}  // namespace fcc::backend

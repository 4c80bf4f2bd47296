#include "ir/verify.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "ir/op.h"
#include "ir/text.h"

namespace fcc {
namespace {

class Verifier {
 public:
  explicit Verifier(const Graph& g) : g_(g), defined_(static_cast<size_t>(g.value_count()), false) {}

  Status run() {
    FCC_CHECKED(names());
    for (ValueId v = 0; v < g_.value_count(); ++v)
      if (g_.value(v).role != Role::temp && !g_.value(v).dead) defined_[static_cast<size_t>(v)] = true;
    for (NodeId n : g_.order()) FCC_CHECKED(node(n));
    for (ValueId v : g_.outputs)
      if (!defined_[static_cast<size_t>(v)]) return broken("output " + g_.value(v).name + " is not computed");
    if (g_.outputs.size() != g_.output_names.size()) return broken("outputs and their names differ in number");
    for (auto& [state, next] : g_.updates) {
      if (g_.value(state).role != Role::state) return broken(g_.value(state).name + " is updated but is no state");
      if (g_.value(state).type != g_.value(next).type) return broken("state " + g_.value(state).name + " changes its type");
    }
    return uses();
  }

 private:
  static std::unexpected<Diagnostic> broken(std::string what) { return fail("graph: " + std::move(what)); }

  Status names() const {
    std::unordered_set<std::string_view> seen;
    for (ValueId v = 0; v < g_.value_count(); ++v)
      if (!g_.value(v).dead && !seen.insert(g_.value(v).name).second) return broken("two values are called " + g_.value(v).name);
    return {};
  }

  Status node(NodeId id) {
    const Node& n = g_.node(id);
    for (ValueId v : n.in)
      if (v != kNoValue && !defined_[static_cast<size_t>(v)]) return broken(describe(*n.op, n.loc) + " uses " + g_.value(v).name + " before it is computed");
    InferContext ctx(*n.op, n.attrs, n.loc, n.in.size(), n.out.size());
    ctx.body = n.body.get();
    for (size_t k = 0; k < n.in.size(); ++k) {
      if (n.in[k] == kNoValue) continue;
      ctx.types_[k] = &g_.value(n.in[k]).type;
      ctx.contents_[k] = g_.value(n.in[k]).content;
    }
    int fresh = 0;
    ctx.fresh_symbol = [&] { return SymExpr::symbol("$fresh" + std::to_string(fresh++)); };
    FCC_CHECKED(infer(ctx));
    for (size_t k = 0; k < n.out.size(); ++k) {
      const Value& out = g_.value(n.out[k]);
      if (out.def != id) return broken(out.name + " does not know its node");
      if (fresh == 0 && out.type != ctx.out_types[k])
        return broken(describe(*n.op, n.loc) + " makes " + ctx.out_types[k].text() + ", but " + out.name + " is " + out.type.text());
      defined_[static_cast<size_t>(n.out[k])] = true;
    }
    if (n.body) FCC_CHECKED(verify(*n.body));
    return {};
  }

  Status uses() const {
    std::vector<std::multiset<NodeId>> want(static_cast<size_t>(g_.value_count()));
    for (NodeId n : g_.order())
      for (ValueId v : g_.node(n).in)
        if (v != kNoValue) want[static_cast<size_t>(v)].insert(n);
    for (ValueId v = 0; v < g_.value_count(); ++v) {
      const auto& have = g_.users(v);
      if (std::multiset<NodeId>(have.begin(), have.end()) != want[static_cast<size_t>(v)]) return broken("the use list of " + g_.value(v).name + " is wrong");
    }
    return {};
  }

  const Graph& g_;
  std::vector<bool> defined_;
};

}  // namespace

Status verify(const Graph& g) { return Verifier(g).run(); }

Status verify_text(const Graph& g) {
  std::vector<Tensor> pool, again_pool;
  const std::string text = print(g, &pool);
  FCC_TRY(Graph parsed, parse_graph(text, pool));
  const std::string again = print(parsed, &again_pool);
  if (again != text) {
    const size_t at = static_cast<size_t>(std::mismatch(text.begin(), text.end(), again.begin(), again.end()).first - text.begin());
    const size_t begin = text.rfind('\n', at == 0 ? 0 : at - 1) + 1;
    return fail("graph: its text parses to another program", "printed \"" + text.substr(begin, text.find('\n', at) - begin) + "\", parsed \"" +
                                                                 again.substr(begin, again.find('\n', std::min(at, again.size())) - begin) + "\"");
  }
  for (size_t k = 0; k < pool.size(); ++k)
    if (!pool[k].same_bits(again_pool.at(k))) return fail("graph: its text parses to another constant");
  return {};
}

void verify_or_die(const Graph& g, std::string_view after) {
  Status s = verify(g);
  if (s) s = verify_text(g);
  if (!s) throw InternalError(fmt::format("internal error: after {}: {}\n{}", after, s.error().text(), print(g)));
}

}  // namespace fcc

#include "tools/fit/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/fit/svg.h"

namespace fcc {
namespace {

using svg::escaped;

constexpr const char* kStyle = R"(
:root { --bg:#fbfbfa; --card:#fff; --ink:#1d1d1f; --soft:#6b6b70; --line:#e3e3e0; --a:#2563eb; --b:#e0662f; --good:#15803d; --cell:37,99,235; }
@media (prefers-color-scheme: dark) { :root { --bg:#141416; --card:#1d1d20; --ink:#ececee; --soft:#9a9aa2; --line:#33333a; --a:#6ea0ff; --b:#ff9a63; --good:#5fce8a; --cell:110,160,255; } }
* { box-sizing:border-box } body { margin:0; background:var(--bg); color:var(--ink); font:15px/1.5 system-ui,sans-serif }
main { max-width:1080px; margin:0 auto; padding:28px 20px 60px } h1 { font-size:26px; margin:0 0 4px } h2 { font-size:18px; margin:36px 0 10px }
p.lead, .note { color:var(--soft); margin:0 0 14px } .cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:12px; margin:18px 0 }
.card, figure { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:12px 14px; margin:0 }
.card b { display:block; font-size:22px; font-variant-numeric:tabular-nums } .card span { color:var(--soft); font-size:13px }
.two { display:grid; grid-template-columns:repeat(auto-fit,minmax(440px,1fr)); gap:14px } .many { display:grid; grid-template-columns:repeat(auto-fill,minmax(235px,1fr)); gap:12px }
figcaption { font-size:13px; color:var(--soft); margin-bottom:6px; overflow-wrap:anywhere } figcaption b { color:var(--ink) }
svg { width:100%; height:auto; display:block } svg text { fill:var(--soft); font:11px system-ui,sans-serif } .grid { stroke:var(--line) }
.sa { stroke:var(--a) } .sb { stroke:var(--b) } .fa { fill:var(--a) } .fb { fill:var(--b) } .curve { fill:none; stroke-width:2 } .thin { stroke-width:1; opacity:.45 }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; font-size:13px } td, th { padding:4px 8px; text-align:right; border-bottom:1px solid var(--line) }
th { color:var(--soft); font-weight:500 } td.l, th.l { text-align:left } .scroll { overflow:auto; background:var(--card); border:1px solid var(--line); border-radius:10px; padding:10px }
.cm td { border:1px solid var(--bg); min-width:38px; text-align:center } .cm td.d { font-weight:600 } .bar { display:inline-block; height:9px; background:var(--a); border-radius:2px; vertical-align:middle }
.key { display:inline-block; width:10px; height:10px; border-radius:2px; margin:0 5px 0 12px } .ka { background:var(--a) } .kb { background:var(--b) }
.box { fill:var(--card); stroke:var(--line) } .boxin { fill:var(--bg); stroke:var(--a) } .op { fill:var(--ink) !important; font-weight:600 !important } .edge { fill:none; stroke:var(--soft); opacity:.7 }
)";

std::string percent(double share) {
  return std::isnan(share) ? "" : fmt::format("{:.2f} %", 100 * share);
}
// 1234567 as 1 234 567, in thin spaces.
std::string grouped(int64_t n) {
  std::string digits = std::to_string(n);
  for (size_t at = digits.size(); at > 3;) digits.insert(at -= 3, "\u2009");
  return digits;
}
std::string number(double x) {
  return std::isnan(x) ? "" : fmt::format("{:.4g}", x);
}

std::string card(const std::string& value, std::string_view label) {
  return value.empty() ? "" : fmt::format("<div class=card><b>{}</b><span>{}</span></div>", escaped(value), label);
}

std::string cards(const FitResult& r) {
  std::string out = "<div class=cards>";
  const EpochRow* last = r.history.epochs.empty() ? nullptr : &r.history.epochs.back();
  if (r.best_epoch > 0) {
    out += card(percent(r.best_accuracy), fmt::format("best validation accuracy, epoch {}", r.best_epoch));
    out += card(number(r.best_loss), fmt::format("best validation loss, epoch {}", r.best_epoch));
  }
  if (last) {
    out += card(number(last->loss), "training loss, last epoch");
    out += card(percent(last->accuracy), "training accuracy, last epoch");
    double seconds = 0;
    for (const EpochRow& e : r.history.epochs) seconds += e.seconds;
    out += card(grouped(static_cast<int64_t>(last->rows_per_second)), "samples a second");
    out += card(seconds < 100 ? fmt::format("{:.2f} s", seconds) : fmt::format("{:.1f} min", seconds / 60),
                "training time");
  }
  out += card(grouped(r.steps), "optimizer steps");
  out += card(grouped(r.parameters), "parameters");
  return out + "</div>";
}

svg::Series series(const FitResult& r, std::string label, std::string style, double EpochRow::*field) {
  svg::Series s{std::move(label), std::move(style), {}};
  for (const EpochRow& e : r.history.epochs)
    if (!std::isnan(e.*field)) s.points.emplace_back(static_cast<double>(e.epoch), e.*field);
  return s;
}

// The losses of steps as a curve over epochs, averaged so that at most 400 points remain.
svg::Series step_series(const FitResult& r) {
  svg::Series s{"each step", "sa thin", {}};
  const std::vector<float>& losses = r.history.step_losses;
  const size_t group = std::max<size_t>(1, losses.size() / 400);
  const double last = r.history.epochs.empty() ? 1 : static_cast<double>(r.history.epochs.back().epoch);
  const double per_epoch = r.epochs_done > 0 && r.steps > 0
                               ? static_cast<double>(r.steps) / static_cast<double>(r.epochs_done)
                               : static_cast<double>(losses.size());
  for (size_t i = 0; i + group <= losses.size(); i += group) {
    double sum = 0;
    for (size_t k = 0; k < group; ++k) sum += static_cast<double>(losses[i + k]);
    const double from_end = static_cast<double>(losses.size() - i) - 0.5 * static_cast<double>(group);
    if (std::isfinite(sum)) s.points.emplace_back(last - from_end / per_epoch, sum / static_cast<double>(group));
  }
  return s;
}

std::string curves(const FitResult& r) {
  std::string out =
      "<h2>Curves</h2><p class=note><span class='key ka'></span>training<span class='key kb'></span>validation</p><div "
      "class=two>";
  out += svg::figure("<b>Loss</b> by epoch; the faint line is the loss of each step",
                     svg::lines({step_series(r), series(r, "training", "sa", &EpochRow::loss),
                                 series(r, "validation", "sb", &EpochRow::val_loss)},
                                svg::Axis::plain));
  const svg::Series train = series(r, "training", "sa", &EpochRow::accuracy),
                    val = series(r, "validation", "sb", &EpochRow::val_accuracy);
  if (!train.points.empty() || !val.points.empty())
    out += svg::figure("<b>Accuracy</b> by epoch", svg::lines({train, val}, svg::Axis::percent));
  out += svg::figure("<b>Learning rate</b> by epoch",
                     svg::lines({series(r, "lr", "sa", &EpochRow::lr)}, svg::Axis::plain));
  out += svg::figure("<b>Samples a second</b> by epoch",
                     svg::lines({series(r, "rate", "sa", &EpochRow::rows_per_second)}, svg::Axis::from_zero));
  return out + "</div>";
}

std::string epoch_table(const FitResult& r) {
  std::string out =
      "<details><summary class=note>All epochs as numbers</summary><div "
      "class=scroll><table><tr><th>epoch<th>steps<th>lr<th>loss<th>accuracy<th>val loss<th>val "
      "accuracy<th>seconds<th>samples/s</tr>";
  for (const EpochRow& e : r.history.epochs)
    out += fmt::format("<tr><td>{}<td>{}<td>{:.4g}<td>{}<td>{}<td>{}<td>{}<td>{:.3g}<td>{:.0f}</tr>", e.epoch, e.steps,
                       e.lr, number(e.loss), percent(e.accuracy), number(e.val_loss), percent(e.val_accuracy),
                       e.seconds, e.rows_per_second);
  return out + "</table></div></details>";
}

std::string confusion(const Confusion& c) {
  const size_t n = c.classes.size();
  std::string out = fmt::format(
      "<h2>Confusion matrix</h2><p class=note>Rows are labels, columns what the model said; on the {} data.</p>",
      c.validation ? "validation" : "training");
  const bool small = n <= 40;
  std::vector<int64_t> row(n), column(n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) row[i] += c.counts[i * n + j], column[j] += c.counts[i * n + j];
  if (small) {
    out += "<div class=scroll><table class=cm><tr><th>";
    for (const std::string& name : c.classes) out += "<th>" + escaped(name);
    out += "<th>recall<th>precision</tr>";
    for (size_t i = 0; i < n; ++i) {
      out += "<tr><th>" + escaped(c.classes[i]);
      for (size_t j = 0; j < n; ++j) {
        const int64_t count = c.counts[i * n + j];
        const double share = row[i] ? static_cast<double>(count) / static_cast<double>(row[i]) : 0;
        out += fmt::format("<td{} style='background:rgba(var(--cell),{:.3f})' title='{} said as {}: {}'>{}",
                           i == j ? " class=d" : "", count ? 0.06 + 0.8 * std::sqrt(share) : 0.0, escaped(c.classes[i]),
                           escaped(c.classes[j]), count, count ? std::to_string(count) : "");
      }
      const double hit = static_cast<double>(c.counts[i * n + i]);
      out += fmt::format("<td>{}<td>{}</tr>", row[i] ? percent(hit / static_cast<double>(row[i])) : "",
                         column[i] ? percent(hit / static_cast<double>(column[i])) : "");
    }
    out += "</table></div>";
  }
  struct Mistake {
    int64_t count;
    size_t label, said;
  };
  std::vector<Mistake> mistakes;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      if (i != j && c.counts[i * n + j] > 0) mistakes.push_back({c.counts[i * n + j], i, j});
  std::ranges::stable_sort(mistakes, std::greater<>(), &Mistake::count);
  if (mistakes.size() > 8) mistakes.resize(8);
  if (!mistakes.empty()) out += "<p class=note style='margin-top:8px'>Most common mistakes: ";
  for (size_t k = 0; k < mistakes.size(); ++k)
    out += fmt::format("{}{} taken for {} ({})", k ? ", " : "", escaped(c.classes[mistakes[k].label]),
                       escaped(c.classes[mistakes[k].said]), mistakes[k].count);
  return out + "</p>";
}

std::string weights(const FitResult& r) {
  std::string out =
      "<h2>Weights</h2><p class=note><span class='key ka'></span>now<span class='key kb'></span>before training. A "
      "layer whose two shapes agree has hardly learned.</p><div class=many>";
  for (const WeightPicture& w : r.weights) {
    double moved = 0, size = 0;
    for (size_t i = 0; i < std::min(w.before.size(), w.after.size()); ++i) {
      moved += std::pow(static_cast<double>(w.after[i]) - static_cast<double>(w.before[i]), 2);
      size += std::pow(static_cast<double>(w.before[i]), 2);
    }
    out += svg::figure(fmt::format("<b>{}</b> {}<br>moved by {:.1f} % of its length", escaped(w.name), w.shape,
                                   size > 0 ? 100 * std::sqrt(moved / size) : 0),
                       svg::histogram(w.after, w.before));
  }
  return out + "</div>";
}

std::string activations(const Insight& insight) {
  std::string out = fmt::format("<h2>Activations</h2><p class=note>What each layer gives, {}.</p><div class=many>",
                                escaped(insight.note));
  for (const ActivationPicture& a : insight.activations)
    out += svg::figure(fmt::format("<b>{}</b> {}<br>{}<br>mean {:.3g}, deviation {:.3g}, {:.0f} % zero", escaped(a.op),
                                   escaped(a.shape), escaped(a.name), a.mean, a.deviation, 100 * a.zeros),
                       svg::histogram(a.values, {}));
  return out + "</div>";
}

std::string step_times(const FitResult& r) {
  double total = 0;
  for (const StepTime& s : r.step_times) total += s.seconds;
  std::vector<StepTime> steps = r.step_times;
  std::ranges::stable_sort(steps, std::greater<>(), &StepTime::seconds);
  std::string out =
      "<h2>Time by step</h2><p class=note>Kernels of a training step: forward, loss, backward, update.</p><div "
      "class=scroll><table><tr><th class=l>step<th class=l>kernel<th>us a call<th>share<th class=l><th>GFLOP/s</tr>";
  for (const StepTime& s : steps) {
    if (s.calls == 0 || total == 0) continue;
    const double each = s.seconds / static_cast<double>(s.calls), share = s.seconds / total;
    out += fmt::format(
        "<tr><td class=l>{}<td class=l>{}<td>{:.2f}<td>{:.1f} %<td class=l><span class=bar "
        "style='width:{:.0f}px'></span><td>{}</tr>",
        escaped(s.name), escaped(s.what), 1e6 * each, 100 * share, 160 * share,
        each > 0 && s.flops > 0 ? fmt::format("{:.1f}", s.flops / each * 1e-9) : "");
  }
  return out + "</table></div>";
}

std::string settings(const ReportHead& head, const FitResult& r) {
  std::string out = "<h2>Settings</h2><div class=scroll><table>";
  for (const auto& [key, value] : head.settings)
    out += fmt::format("<tr><th class=l>{}<td class=l>{}</tr>", escaped(key), escaped(value));
  for (const std::string& note : r.notes) out += fmt::format("<tr><th class=l>note<td class=l>{}</tr>", escaped(note));
  return out + "</table></div>";
}

}  // namespace

std::string report_html(const ReportHead& head, const FitResult& r, const Insight& insight) {
  std::string out = fmt::format(
      "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{} - "
      "training report</title><style>{}</style><main>",
      escaped(head.model), kStyle);
  out += fmt::format("<h1>{}</h1><p class=lead>{} epochs over {} rows{}</p>", escaped(head.model), r.epochs_done,
                     r.train_rows, r.validation_rows ? fmt::format(", judged on {} held out", r.validation_rows) : "");
  out += cards(r) + curves(r) + epoch_table(r);
  if (r.confusion) out += confusion(*r.confusion);
  if (!r.weights.empty()) out += weights(r);
  if (!insight.activations.empty()) out += activations(insight);
  if (!insight.graph.empty()) out += "<h2>Graph</h2><div class=scroll>" + svg::graph(insight.graph) + "</div>";
  if (!r.step_times.empty()) out += step_times(r);
  return out + settings(head, r) + "</main></html>\n";
}

}  // namespace fcc

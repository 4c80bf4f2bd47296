#include "tools/fit/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace fcc::svg {
namespace {

struct Range {
  double low = 0, high = 1;
};

// About four round numbers that cover the range.
std::vector<double> ticks(Range r) {
  const double raw = (r.high - r.low) / 4, power = std::pow(10, std::floor(std::log10(raw)));
  double step = power;
  for (double m : {2.0, 5.0, 10.0})
    if (step < raw) step = m * power;
  std::vector<double> out;
  for (double t = std::ceil(r.low / step - 1e-9) * step; t <= r.high + 1e-9 * step && out.size() < 12; t += step)
    out.push_back(std::abs(t) < 1e-12 * step ? 0 : t);
  return out;
}

Range padded(double low, double high) {
  if (!(high > low)) {
    const double pad = low != 0 ? std::abs(low) * 0.1 : 1;
    return {low - pad, high + pad};
  }
  return {low - 0.04 * (high - low), high + 0.04 * (high - low)};
}

// 1200000 as 1.2 M: room beside an axis is short.
std::string short_number(double x) {
  const double size = std::abs(x);
  if (size >= 1e9) return fmt::format("{:.4g} G", x * 1e-9);
  if (size >= 1e6) return fmt::format("{:.4g} M", x * 1e-6);
  if (size >= 1e4) return fmt::format("{:.4g} k", x * 1e-3);
  return fmt::format("{:.4g}", x);
}

constexpr double kWidth = 480, kHeight = 230, kLeft = 52, kRight = 10, kTop = 10, kBottom = 24;

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '\'')
      out += "&#39;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string figure(std::string_view caption, std::string_view drawing) {
  return fmt::format("<figure><figcaption>{}</figcaption>{}</figure>", caption, drawing);
}

std::string lines(const std::vector<Series>& all, Axis axis) {
  double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
  for (const Series& s : all)
    for (const auto& [x, y] : s.points)
      x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
  if (!(x1 >= x0)) return "<p class=note>nothing to draw</p>";
  if (axis == Axis::from_zero) y0 = 0;
  if (!(x1 > x0)) x0 -= 1, x1 += 1;
  const Range ry = padded(y0, y1);
  auto px = [&](double x) { return kLeft + (x - x0) / (x1 - x0) * (kWidth - kLeft - kRight); };
  auto py = [&](double y) { return kTop + (ry.high - y) / (ry.high - ry.low) * (kHeight - kTop - kBottom); };
  std::string out = fmt::format("<svg viewBox='0 0 {} {}' role=img>", kWidth, kHeight);
  for (double t : ticks(ry))
    out += fmt::format(
        "<line class=grid x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}'/><text x='{}' y='{:.1f}' text-anchor=end>{}</text>",
        kLeft, kWidth - kRight, py(t), py(t), kLeft - 6, py(t) + 4,
        axis == Axis::percent ? fmt::format("{:.4g} %", 100 * t) : short_number(t));
  for (double t : ticks({x0, x1}))
    if (t == std::floor(t))
      out += fmt::format("<text x='{:.1f}' y='{}' text-anchor=middle>{:.0f}</text>", px(t), kHeight - 6, t);
  for (const Series& s : all) {
    std::string path;
    for (const auto& [x, y] : s.points) path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", px(x), py(y));
    if (!path.empty())
      out += fmt::format("<path class='curve {}' d='{}'><title>{}</title></path>", s.style, path, escaped(s.label));
    if (s.points.size() > 60 || s.style.find("thin") != s.style.npos) continue;
    for (const auto& [x, y] : s.points)
      out += fmt::format("<circle class='f{}' cx='{:.1f}' cy='{:.1f}' r=3><title>{} at {:.0f}: {:.5g}</title></circle>",
                         s.style.substr(1, 1), px(x), py(y), escaped(s.label), x, y);
  }
  return out + "</svg>";
}

std::string histogram(const std::vector<float>& now, const std::vector<float>& before) {
  constexpr int kBins = 40;
  constexpr double kW = 220, kH = 90, kBase = 74;
  float low = INFINITY, high = -INFINITY;
  for (const std::vector<float>* values : {&now, &before})
    for (float v : *values)
      if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  if (!(high >= low)) return "<p class=note>no finite values</p>";
  if (high == low) low -= 0.5f, high += 0.5f;
  std::array<std::array<double, kBins>, 2> share{};
  double top = 0;
  for (int k = 0; k < 2; ++k) {
    const std::vector<float>& values = k ? before : now;
    for (float v : values)
      if (std::isfinite(v))
        share[static_cast<size_t>(k)]
             [static_cast<size_t>(std::clamp<int>(static_cast<int>((v - low) / (high - low) * kBins), 0, kBins - 1))] +=
            1.0 / static_cast<double>(values.size());
    top = std::max(top, *std::ranges::max_element(share[static_cast<size_t>(k)]));
  }
  std::string out = fmt::format("<svg viewBox='0 0 {} {}' role=img>", kW, kH);
  const double bin = kW / kBins;
  for (int i = 0; i < kBins; ++i) {
    const double h = share[0][static_cast<size_t>(i)] / top * (kBase - 6);
    if (h > 0)
      out += fmt::format("<rect class=fa x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' opacity=.75 />", i * bin,
                         kBase - h, bin - 0.6, h);
  }
  if (!before.empty()) {
    std::string path;
    for (int i = 0; i < kBins; ++i) {
      const double y = kBase - share[1][static_cast<size_t>(i)] / top * (kBase - 6);
      path += i ? fmt::format("V{:.1f}H{:.1f}", y, (i + 1) * bin) : fmt::format("M0 {:.1f}H{:.1f}", y, bin);
    }
    out += fmt::format("<path class='curve sb' style='stroke-width:1.3' d='{}'/>", path);
  }
  return out + fmt::format(
                   "<line class=grid x1=0 x2='{}' y1='{}' y2='{}'/><text x=0 y=87>{:.3g}</text><text x='{}' y=87 "
                   "text-anchor=end>{:.3g}</text></svg>",
                   kW, kBase, kBase, low, kW, high);
}

std::string graph(const std::vector<GraphBox>& boxes) {
  constexpr size_t kMostBoxes = 400;
  constexpr double kBoxW = 168, kBoxH = 38, kGapX = 18, kGapY = 22;
  if (boxes.size() > kMostBoxes) return fmt::format("<p class=note>{} nodes are too many to draw</p>", boxes.size());
  std::vector<size_t> depth(boxes.size(), 0), column(boxes.size(), 0);
  std::vector<size_t> used;
  for (size_t i = 0; i < boxes.size(); ++i) {
    for (size_t from : boxes[i].inputs) depth[i] = std::max(depth[i], depth[from] + 1);
    if (used.size() <= depth[i]) used.resize(depth[i] + 1, 0);
    column[i] = used[depth[i]]++;
  }
  const size_t widest = used.empty() ? 1 : *std::ranges::max_element(used);
  const double width = static_cast<double>(widest) * (kBoxW + kGapX) + kGapX,
               height = static_cast<double>(used.size()) * (kBoxH + kGapY) + kGapY;
  auto x = [&](size_t i) {
    return (width - static_cast<double>(used[depth[i]]) * (kBoxW + kGapX) + kGapX) / 2 +
           static_cast<double>(column[i]) * (kBoxW + kGapX);
  };
  auto y = [&](size_t i) { return kGapY + static_cast<double>(depth[i]) * (kBoxH + kGapY); };
  std::string edges, nodes;
  for (size_t i = 0; i < boxes.size(); ++i) {
    const GraphBox& b = boxes[i];
    for (size_t from : b.inputs) {
      const double x0 = x(from) + kBoxW / 2, y0 = y(from) + kBoxH, x1 = x(i) + kBoxW / 2, y1 = y(i),
                   bend = (y1 - y0) / 2;
      edges += fmt::format("<path class=edge d='M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}'/>", x0, y0,
                           x0, y0 + bend, x1, y1 - bend, x1, y1);
    }
    nodes += fmt::format(
        "<g><title>{}{}{}</title><rect class='{}' x='{:.0f}' y='{:.0f}' width='{}' height='{}' rx=6 /><text class=op "
        "x='{:.0f}' y='{:.0f}' text-anchor=middle>{}</text><text x='{:.0f}' y='{:.0f}' "
        "text-anchor=middle>{}</text></g>",
        escaped(b.name), b.parameters.empty() ? "" : ": ", escaped(b.parameters), b.op == "input" ? "boxin" : "box",
        x(i), y(i), kBoxW, kBoxH, x(i) + kBoxW / 2, y(i) + 16, escaped(b.op == "input" ? b.name : b.op),
        x(i) + kBoxW / 2, y(i) + 31, escaped(b.shape));
  }
  return fmt::format(
      "<svg viewBox='0 0 {0:.0f} {1:.0f}' style='width:{0:.0f}px;max-width:none;margin:0 auto' role=img>{2}{3}</svg>",
      width, height, edges, nodes);
}

}  // namespace fcc::svg

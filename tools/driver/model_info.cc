#include "tools/driver/model_info.h"

#include <nlohmann/json.hpp>

namespace fcc {

using Json = nlohmann::ordered_json;

static Json slots(const std::vector<SlotImage>& list) {
  Json out = Json::array();
  for (const SlotImage& s : list) {
    Json dims = Json::array();
    for (const SymExpr& d : s.type.dims) {
      if (d.is_constant()) dims.push_back(d.constant());
      else dims.push_back(d.text());
    }
    out.push_back({{"name", s.name}, {"dtype", std::string(name(s.type.dtype))}, {"dims", dims}});
  }
  return out;
}

static Json entry_json(const EntryImage& e) {
  Json steps = Json::array();
  for (const StepImage& s : e.steps) steps.push_back({{"name", s.name}, {"what", s.what}, {"kernel", s.kernel}});
  Json symbols = Json::array();
  for (const SymbolImage& s : e.symbols) {
    Json j = {{"name", s.name}, {"min", s.min}};
    if (s.max != INT64_MAX) j["max"] = s.max;
    if (s.defined_by_step) j["defined_by_step"] = true;
    symbols.push_back(j);
  }
  return {{"name", e.name}, {"inputs", slots(e.inputs)}, {"outputs", slots(e.outputs)}, {"symbols", symbols}, {"steps", steps},
          {"buffers", e.buffers.size()}, {"workspace_bytes", e.workspace_bytes}};
}

std::string model_info_json(const ModelImage& image, const Import& import, const std::string& training) {
  Json targets = Json::array(), entries = Json::array();
  for (const VariantImage& v : image.variants) targets.push_back(v.target.text());
  for (const EntryImage& e : image.variants.front().entries) entries.push_back(entry_json(e));
  Json info = {{"producer", image.producer}, {"source", {{"sha256", image.source_hash}, {"opset", import.opset}, {"ir_version", import.ir_version}, {"producer", import.producer}}},
                     {"targets", targets}, {"entries", entries}, {"constants_bytes", image.constants_bytes}, {"state_bytes", image.state_arena_bytes},
                     {"kernels", image.variants.front().kernels.size()}};
  if (!training.empty()) info["training"] = Json::parse(training);
  return info.dump(1);
}

}  // namespace fcc

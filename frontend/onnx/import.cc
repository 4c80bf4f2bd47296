#include "frontend/onnx/import.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <climits>

#include "frontend/digest.h"
#include "frontend/onnx/importer.h"
#include "frontend/onnx/operators.h"
#include "frontend/onnx/training_info.h"
#include "frontend/onnx/wire.h"

namespace fcc {
namespace {

std::unexpected<Diagnostic> at_file(Diagnostic d, std::string_view file) {
  if (d.where.empty()) d.where = file;
  return std::unexpected(std::move(d));
}

bool parse(std::span<const std::byte> bytes, google::protobuf::MessageLite& message) {
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetTotalBytesLimit(INT_MAX);
  return message.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
}

// Says what the file is when it is no ONNX, else what is damaged.
std::unexpected<Diagnostic> not_a_model(std::span<const std::byte> bytes, std::string_view file, Diagnostic otherwise) {
  if (const std::string format = foreign_format(bytes); !format.empty())
    return fail(Diagnostic{.what = fmt::format("{} is no ONNX model: it looks like {}", quoted(file), format),
                           .where = std::string(file),
                           .hint = foreign_hint(bytes)});
  return at_file(std::move(otherwise), file);
}

struct Loaded {
  onnx::ModelProto model;
  ModelFacts facts;
  FunctionTable functions;
  TrainingBindings training;
};

Result<std::unique_ptr<Loaded>> load(std::span<const std::byte> bytes, std::string_view file,
                                     OwnTraining training = OwnTraining::ignored) {
  if (bytes.empty())
    return fail(Diagnostic{.what = quoted(file) + " is empty",
                           .where = std::string(file),
                           .hint = "the export or the download may have failed"});
  if (static_cast<int64_t>(bytes.size()) > kMaxModelBytes)
    return fail(Diagnostic{
        .what = fmt::format("{} has {} bytes; at most {} are possible", quoted(file), bytes.size(), kMaxModelBytes),
        .where = std::string(file),
        .hint = "save the weights beside the model: onnx.save_model(model, path, save_as_external_data=True)"});
  if (Status s = check_wire(bytes, WireRoot::model); !s) return not_a_model(bytes, file, std::move(s).error());
  auto out = std::make_unique<Loaded>();
  if (!parse(bytes, out->model))
    return not_a_model(
        bytes, file, {.what = "the file cannot be parsed as an ONNX model", .hint = "fetch or export the file again"});
  Result<ModelFacts> facts = check_header(out->model);
  if (!facts) return not_a_model(bytes, file, std::move(facts).error());
  out->facts = *std::move(facts);
  if (training != OwnTraining::ignored && has_training_info(out->model)) {
    Result<TrainingBindings> joined = join_training(out->model, training);
    if (!joined) return at_file(std::move(joined).error(), file);
    out->training = *std::move(joined);
  }
  Result<FunctionTable> functions = FunctionTable::build(out->model, out->facts.opset);
  if (!functions) return at_file(std::move(functions).error(), file);
  out->functions = *std::move(functions);
  return out;
}

void describe_model(const Loaded& l, Import& out) {
  out.ir_version = l.facts.ir_version;
  out.opset = l.facts.opset;
  out.notes = l.facts.notes;
  out.has_training = has_training_info(l.model);
  out.model_outputs = l.training.model_outputs;
  out.slots = l.training.slots;
  out.producer = l.model.producer_name() + (l.model.producer_version().empty() ? "" : " " + l.model.producer_version());
  for (const auto& kv : l.model.metadata_props()) out.metadata[kv.key()] = kv.value();
}

Result<Import> import_loaded(Loaded& l, const std::string& base_dir, const ImportOptions& options,
                             const std::string& file) {
  Faults faults;
  for (Diagnostic& d : describe_unsupported(unsupported_nodes(l.model, l.functions, l.facts.opset), file))
    faults.add(std::move(d));
  check_structure(l.model, l.functions, file, l.facts.opset, faults);
  FCC_CHECKED(faults.status());
  ExternalFiles files(base_dir);
  Import out;
  describe_model(l, out);
  Importer importer(l.model, l.functions, l.facts, l.training, files, file);
  if (Status s = importer.run(options, out); !s) return at_file(std::move(s).error(), file);
  return out;
}

}  // namespace

Result<Import> import_bytes(std::span<const std::byte> model, const std::string& base_dir, const ImportOptions& options,
                            std::string_view file) {
  const std::string shown = printable(file);
  FCC_TRY(const std::unique_ptr<Loaded> loaded, load(model, shown, options.training));
  FCC_TRY(Import out, import_loaded(*loaded, base_dir, options, shown));
  out.sha256 = sha256_hex(model);
  return out;
}

Result<Import> import_file(const std::string& path, const ImportOptions& options) {
  FCC_TRY(FileBytes bytes, read_whole_file(path, kMaxModelBytes));
  const std::string shown = printable(base_name(path));
  FCC_TRY(const std::unique_ptr<Loaded> loaded, load(bytes.span(), shown, options.training));
  std::string sha256 = sha256_hex(bytes.span());
  bytes = {};  // the weights are in the parsed model now; do not keep them twice
  FCC_TRY(Import out, import_loaded(*loaded, directory_of(path), options, shown));
  out.sha256 = std::move(sha256);
  return out;
}

// ---- survey ---------------------------------------------------------------------------------------------

static std::string interface_text(const onnx::ValueInfoProto& v) {
  const auto& t = v.type().tensor_type();
  if (!v.type().has_tensor_type()) return printable(v.name()) + ": no tensor";
  const auto dtype = dtype_from_onnx(t.elem_type());
  std::string dims;
  for (const auto& d : t.shape().dim())
    dims += (dims.empty() ? "" : ",") + (d.has_dim_param()   ? printable(d.dim_param())
                                         : d.has_dim_value() ? std::to_string(d.dim_value())
                                                             : "?");
  return fmt::format("{}: {}[{}]", printable(v.name()),
                     dtype ? std::string(name(*dtype)) : onnx_dtype_name(t.elem_type()), dims);
}

static void count_parameters(const onnx::GraphProto& g, ModelSummary& s) {
  const auto count = [&](const auto& dims, int64_t bits) {
    int64_t n = 1;
    for (int64_t d : dims) n = saturating_multiply(n, std::max<int64_t>(d, 0));
    s.parameters = saturating_add(s.parameters, n);
    s.parameter_bytes = saturating_add(s.parameter_bytes, saturating_multiply(n, bits) / 8);
  };
  for (const auto& t : g.initializer()) count(t.dims(), onnx_dtype_bits(t.data_type()));
  for (const auto& t : g.sparse_initializer()) count(t.dims(), onnx_dtype_bits(t.values().data_type()));
}

static void survey_nodes(const Loaded& l, ModelSummary& s) {
  const auto count = [&](const NodeList& nodes) {
    for_each_node(nodes, [&](const onnx::NodeProto& n, int) {
      ++s.nodes;
      ++s.operators[printable(full_op_name(n.domain(), n.op_type()))];
    });
  };
  count(l.model.graph().node());
  for (const Function* f : l.functions.all()) count(f->proto->node());
  for (const UnsupportedSite& u : unsupported_nodes(l.model, l.functions, l.facts.opset))
    s.unsupported.push_back({printable(u.op), printable(u.node), u.index, u.why.reason});
}

static void survey_interface(const onnx::GraphProto& g, ModelSummary& s) {
  std::set<std::string_view> initialized;
  for (const auto& t : g.initializer()) initialized.insert(t.name());
  OpenDims dims;
  for (const auto& i : g.input()) dims.note_names(i.type().tensor_type().shape());
  for (const auto& i : g.input()) {
    if (initialized.contains(i.name())) continue;
    s.inputs.push_back(interface_text(i));
    (void)dims.dims_of(i.type().tensor_type().shape(), i.name());
  }
  for (const auto& o : g.output()) s.outputs.push_back(interface_text(o));
  s.open_dims = dims.names();
}

Result<ModelSummary> survey(const std::string& path, const ImportOptions& options) {
  FCC_TRY(FileBytes bytes, read_whole_file(path, kMaxModelBytes));
  ModelSummary s;
  s.file = printable(base_name(path));
  FCC_TRY(const std::unique_ptr<Loaded> loaded, load(bytes.span(), s.file));
  s.sha256 = sha256_hex(bytes.span());
  bytes = {};
  s.graph_name = printable(loaded->model.graph().name());
  Import described;
  describe_model(*loaded, described);
  s.producer = printable(described.producer);
  s.ir_version = described.ir_version;
  s.opset = described.opset;
  survey_nodes(*loaded, s);
  survey_interface(loaded->model.graph(), s);
  count_parameters(loaded->model.graph(), s);
  if (Result<Import> imported = import_loaded(*loaded, directory_of(path), options, s.file); !imported) {
    Diagnostic d = std::move(imported).error();
    std::vector<Diagnostic> more = std::move(d.more);
    d.more.clear();
    s.faults.push_back(std::move(d));
    for (Diagnostic& m : more) s.faults.push_back(std::move(m));
  }
  return s;
}

}  // namespace fcc

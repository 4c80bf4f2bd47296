#include "tools/fcc/onnx_case.h"

#include <algorithm>
#include <filesystem>
#include <functional>

#include "ir/eval.h"
#include "tools/compiled_model.h"
#include "tools/driver/compile.h"

namespace fcc {
namespace {

namespace fs = std::filesystem;
constexpr const char* kModelFile = "model.onnx";

// The part of a name that is a number: input_10.pb comes after input_9.pb.
int number_in(const fs::path& path) {
  const std::string stem = path.stem().string();
  const size_t digits = stem.find_last_not_of("0123456789") + 1;
  return digits < stem.size() ? std::stoi(stem.substr(digits)) : -1;
}

std::vector<fs::path> numbered(const fs::path& folder, std::string_view prefix, std::string_view suffix) {
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) found.push_back(entry.path());
  }
  std::ranges::sort(found, {}, number_in);
  return found;
}

Result<std::vector<NamedTensor>> read_tensors(const fs::path& data_set, std::string_view prefix) {
  std::vector<NamedTensor> tensors;
  for (const fs::path& path : numbered(data_set, prefix, ".pb")) {
    FCC_TRY(NamedTensor tensor, read_tensor_proto(path.string()));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// By position, as ONNX's runner does; by name when the data leaves inputs out.
Result<std::vector<Tensor>> in_order(const std::vector<std::string>& names, std::vector<NamedTensor> data) {
  std::vector<Tensor> inputs;
  if (data.size() == names.size()) {
    for (NamedTensor& d : data) inputs.push_back(std::move(d.tensor));
    return inputs;
  }
  for (const std::string& name : names) {
    auto found = std::ranges::find(data, name, &NamedTensor::name);
    if (found == data.end())
      return fail(
          fmt::format("the model has {} inputs, the data {}; none for \"{}\"", names.size(), data.size(), name));
    inputs.push_back(found->tensor);
  }
  return inputs;
}

// ONNX's test data of 2022 stores bfloat16 as its bits in uint16.
Tensor bits_as_bf16(const Tensor& data, DType wanted) {
  if (wanted != DType::bf16 || data.dtype() != DType::u16) return data;
  return Tensor::view(wanted, data.shape(), data.raw(), std::make_shared<Tensor>(data));
}

// A model ready to be called, compiled or interpreted.
struct Subject {
  std::vector<std::string> inputs;
  std::vector<DType> dtypes;  // of the inputs
  std::function<Result<std::vector<Tensor>>(const std::vector<Tensor>&)> run;
};

Result<Subject> interpreted(const std::string& model, const CaseOptions& options) {
  FCC_TRY(Import import, import_file(model, {.open_extents = options.open}));
  auto graph = std::make_shared<Graph>(std::move(import.graph));
  Subject subject;
  for (ValueId v : graph->inputs()) {
    subject.inputs.push_back(graph->value(v).name);
    subject.dtypes.push_back(graph->value(v).type.dtype);
  }
  subject.run = [graph](const std::vector<Tensor>& inputs) -> Result<std::vector<Tensor>> {
    FCC_TRY(EvalResult result, evaluate(*graph, inputs));
    return std::move(result.outputs);
  };
  return subject;
}

Result<Subject> compiled(const std::string& model, const std::string& library, const CaseOptions& options) {
  CompileOptions compile;
  compile.targets = options.targets;
  compile.jobs = 1;
  if (options.open == OpenExtents::none) {
    FCC_CHECKED(compile_file(model, library, compile));
  } else {
    FCC_TRY(Import import, import_file(model, {.open_extents = options.open}));
    FCC_CHECKED(compile_graph(import.graph, library, compile));
  }
  FCC_TRY(CompiledModel opened, CompiledModel::open(library, {.threads = options.threads}));
  auto shared = std::make_shared<CompiledModel>(std::move(opened));
  Subject subject;
  for (const fcc_slot& slot : std::span(shared->table().inputs, shared->table().n_inputs)) {
    subject.inputs.emplace_back(slot.name);
    subject.dtypes.push_back(static_cast<DType>(slot.dtype));
  }
  subject.run = [shared](const std::vector<Tensor>& inputs) { return shared->run(inputs); };
  return subject;
}

Status judge(const std::vector<Tensor>& actual, const std::vector<NamedTensor>& expected, const Tolerance& tolerance) {
  if (actual.size() != expected.size())
    return fail(fmt::format("{} outputs, expected {}", actual.size(), expected.size()));
  for (size_t k = 0; k < actual.size(); ++k) {
    const Comparison c = compare(actual[k], bits_as_bf16(expected[k].tensor, actual[k].dtype()), tolerance);
    if (!c.equal) return fail(fmt::format("output {} \"{}\": {}", k, expected[k].name, c.mismatch));
  }
  return {};
}

Status run_data_set(const Subject& subject, const fs::path& data_set, const Tolerance& tolerance) {
  FCC_TRY(std::vector<NamedTensor> expected, read_tensors(data_set, "output_"));
  FCC_TRY(std::vector<NamedTensor> data, read_tensors(data_set, "input_"));
  FCC_TRY(std::vector<Tensor> inputs, in_order(subject.inputs, std::move(data)));
  for (size_t k = 0; k < inputs.size(); ++k) inputs[k] = bits_as_bf16(inputs[k], subject.dtypes[k]);
  FCC_TRY(std::vector<Tensor> actual, subject.run(inputs));
  return judge(actual, expected, tolerance);
}

}  // namespace

Result<std::vector<OnnxCase>> find_cases(const std::vector<std::string>& folders) {
  std::vector<OnnxCase> cases;
  for (const std::string& folder : folders) {
    const fs::path top = fs::path(folder) / "";  // so that "node/" and "node" are one
    if (!fs::is_directory(top))
      return fail(fmt::format("{} is not a folder", folder), {},
                  "fcc test wants folders with model.onnx and test_data_set_*, or folders of such");
    if (fs::exists(top / kModelFile)) {
      cases.push_back({fs::canonical(folder).filename().string(), top.string()});
      continue;
    }
    const size_t before = cases.size();
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(top)) {
      if (entry.path().filename() != kModelFile) continue;
      const fs::path found = entry.path().parent_path();
      cases.push_back({fs::relative(found, top).string(), found.string()});
    }
    if (cases.size() == before)
      return fail(fmt::format("{} holds no test case", folder), {},
                  "a case is a folder with model.onnx and test_data_set_*");
    std::sort(cases.begin() + static_cast<int64_t>(before), cases.end(),
              [](const OnnxCase& a, const OnnxCase& b) { return a.name < b.name; });
  }
  return cases;
}

Status run_case(const OnnxCase& test, const CaseOptions& options) {
  const std::string model = (fs::path(test.folder) / kModelFile).string();
  const std::vector<fs::path> data_sets = numbered(test.folder, "test_data_set_", "");
  if (data_sets.empty()) return fail("the case has no test_data_set_* folder");
  const std::string library = options.work_folder + "/model.so";
  FCC_TRY(Subject subject, options.interpret ? interpreted(model, options) : compiled(model, library, options));
  for (const fs::path& data_set : data_sets) FCC_CHECKED(run_data_set(subject, data_set, options.tolerance));
  return {};
}

}  // namespace fcc

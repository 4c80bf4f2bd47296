#pragma once
// Makes ONNX models, good and bad, through the protobuf classes: nothing is checked here. For tests of the importer.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <variant>
#include <vector>

#include "frontend/onnx/proto.h"

namespace fcc::test {

using MadeDim = std::variant<int64_t, std::string>;  // "" : a dimension of unknown size
inline constexpr int kFloat = 1, kUint8 = 2, kInt32 = 6, kInt64 = 7, kString = 8, kBool = 9, kFloat16 = 10,
                     kBfloat16 = 16;

struct ModelMaker {
  onnx::ModelProto m;

  explicit ModelMaker(int64_t opset = 17) {
    m.set_ir_version(8);
    m.mutable_graph()->set_name("g");
    import("", opset);
  }
  onnx::GraphProto& g() { return *m.mutable_graph(); }
  std::string bytes() const { return m.SerializeAsString(); }

  void import(const std::string& domain, int64_t version) {
    auto* o = m.add_opset_import();
    o->set_domain(domain);
    o->set_version(version);
  }
  onnx::ValueInfoProto& input(const std::string& name, const std::vector<MadeDim>& dims, int type = kFloat) {
    return value(*g().add_input(), name, dims, type);
  }
  onnx::ValueInfoProto& output(const std::string& name) {
    auto* o = g().add_output();
    o->set_name(name);
    return *o;
  }
  onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& in, const std::vector<std::string>& out,
                        const std::string& name = "") {
    return add_node(*g().mutable_node(), op, in, out, name);
  }
  onnx::TensorProto& floats(const std::string& name, const std::vector<int64_t>& dims,
                            const std::vector<float>& values) {
    return fill(*g().add_initializer(), name, kFloat, dims, values.data(), values.size() * 4);
  }
  onnx::TensorProto& ints(const std::string& name, const std::vector<int64_t>& dims,
                          const std::vector<int64_t>& values) {
    return fill(*g().add_initializer(), name, kInt64, dims, values.data(), values.size() * 8);
  }

  static onnx::NodeProto& add_node(google::protobuf::RepeatedPtrField<onnx::NodeProto>& to, const std::string& op,
                                   const std::vector<std::string>& in, const std::vector<std::string>& out,
                                   const std::string& name = "") {
    auto* n = to.Add();
    n->set_op_type(op);
    for (const auto& i : in) n->add_input(i);
    for (const auto& o : out) n->add_output(o);
    if (!name.empty()) n->set_name(name);
    return *n;
  }
  static onnx::ValueInfoProto& value(onnx::ValueInfoProto& v, const std::string& name, const std::vector<MadeDim>& dims,
                                     int type) {
    v.set_name(name);
    auto* t = v.mutable_type()->mutable_tensor_type();
    t->set_elem_type(type);
    t->mutable_shape();
    for (const MadeDim& d : dims) {
      auto* dim = t->mutable_shape()->add_dim();
      if (const auto* n = std::get_if<int64_t>(&d))
        dim->set_dim_value(*n);
      else if (!std::get<std::string>(d).empty())
        dim->set_dim_param(std::get<std::string>(d));
    }
    return v;
  }
  static onnx::TensorProto& fill(onnx::TensorProto& t, const std::string& name, int type,
                                 const std::vector<int64_t>& dims, const void* bytes, size_t n) {
    t.set_name(name);
    t.set_data_type(type);
    for (int64_t d : dims) t.add_dims(d);
    t.set_raw_data(bytes, n);
    return t;
  }
};

inline onnx::AttributeProto& attribute(onnx::NodeProto& n, const std::string& name,
                                       onnx::AttributeProto::AttributeType type) {
  auto* a = n.add_attribute();
  a->set_name(name);
  a->set_type(type);
  return *a;
}
inline onnx::NodeProto& set(onnx::NodeProto& n, const std::string& name, int64_t v) {
  attribute(n, name, onnx::AttributeProto::INT).set_i(v);
  return n;
}
inline onnx::NodeProto& set(onnx::NodeProto& n, const std::string& name, int v) {
  return set(n, name, static_cast<int64_t>(v));
}
inline onnx::NodeProto& set(onnx::NodeProto& n, const std::string& name, float v) {
  attribute(n, name, onnx::AttributeProto::FLOAT).set_f(v);
  return n;
}
inline onnx::NodeProto& set(onnx::NodeProto& n, const std::string& name, const char* v) {
  attribute(n, name, onnx::AttributeProto::STRING).set_s(v);
  return n;
}
inline onnx::NodeProto& set(onnx::NodeProto& n, const std::string& name, const std::vector<int64_t>& v) {
  auto& a = attribute(n, name, onnx::AttributeProto::INTS);
  for (int64_t i : v) a.add_ints(i);
  return n;
}

// y = Relu(x), x f32[2,3]: the smallest good model; faults are put into copies of it.
inline ModelMaker relu_model(int64_t opset = 17) {
  ModelMaker m(opset);
  m.input("x", {2, 3});
  m.node("Relu", {"x"}, {"y"}, "act");
  m.output("y");
  return m;
}

// y = x + w, w f32[2,3]
inline ModelMaker add_model() {
  ModelMaker m;
  m.input("x", {2, 3});
  m.floats("w", {2, 3}, {1, 2, 3, 4, 5, 6});
  m.node("Add", {"x", "w"}, {"y"}, "sum");
  m.output("y");
  return m;
}

inline onnx::TensorProto& external(onnx::TensorProto& t,
                                   const std::vector<std::pair<std::string, std::string>>& entries) {
  t.clear_raw_data();
  t.set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : entries) {
    auto* e = t.add_external_data();
    e->set_key(key);
    e->set_value(value);
  }
  return t;
}

// A folder that disappears with the object.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fcc_test_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  TempDir(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::filesystem::create_directories(std::filesystem::path(file(name)).parent_path());
    std::ofstream(file(name), std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return file(name);
  }

 private:
  std::string path_;
};

}  // namespace fcc::test

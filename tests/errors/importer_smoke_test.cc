// Rows 3, 4 and 5, exhaustively for one small model: every truncation, every single-bit flip, random edits from a
// fixed seed. A refusal needs a sentence and a place; nothing may crash, hang or grow. Run it under the sanitizers.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <map>
#include <memory>
#include <random>

#include "tests/errors/error_cases.h"

namespace fcc::test {
namespace {

// About 2 KB that touch every part of the format: inputs, raw and typed initializers, a sparse one, constants,
// a function, a branch, attributes of several types.
std::string small_model() {
  ModelMaker m;
  m.import("local", 1);
  m.m.set_producer_name("fcc");
  m.input("x", {"N", 3, 8, 8});
  m.floats("w", {4, 3, 3, 3}, std::vector<float>(108, 0.5f));
  auto* bias = m.g().add_initializer();
  bias->set_name("b");
  bias->set_data_type(kFloat);
  bias->add_dims(4);
  for (int i = 0; i < 4; ++i) bias->add_float_data(static_cast<float>(i));
  m.ints("shape", {2}, {0, -1});
  auto* s = m.g().add_sparse_initializer();
  const float v[2] = {1, 2};
  const int64_t at[2] = {1, 4};
  ModelMaker::fill(*s->mutable_values(), "sp", kFloat, {2}, v, sizeof v);
  ModelMaker::fill(*s->mutable_indices(), "", kInt64, {2}, at, sizeof at);
  s->add_dims(6);
  const char yes = 1;
  ModelMaker::fill(*m.g().add_initializer(), "cond", kBool, {}, &yes, 1);
  set(set(m.node("Conv", {"x", "w", "b"}, {"c"}, "conv"), "strides", std::vector<int64_t>{1, 1}), "auto_pad", "VALID");
  set(m.node("f", {"c"}, {"r"}, "call"), "slope", 0.25f).set_domain("local");
  m.node("Reshape", {"r", "shape"}, {"flat"}, "reshape");
  auto& choice = m.node("If", {"cond"}, {"y"}, "choice");
  for (const char* name : {"then_branch", "else_branch"}) {
    auto* g = attribute(choice, name, onnx::AttributeProto::GRAPH).mutable_g();
    set(ModelMaker::add_node(*g->mutable_node(), "Softmax", {"flat"}, {std::string(name) + "_y"}), "axis", -1);
    g->add_output()->set_name(std::string(name) + "_y");
  }
  m.output("y");
  m.output("sp");
  auto* f = m.m.add_functions();
  f->set_name("f");
  f->set_domain("local");
  f->add_input("a");
  f->add_output("b");
  f->add_attribute("slope");
  f->add_opset_import()->set_version(17);
  auto* slope = ModelMaker::add_node(*f->mutable_node(), "LeakyRelu", {"a"}, {"b"}).add_attribute();
  slope->set_name("alpha");
  slope->set_ref_attr_name("slope");
  slope->set_type(onnx::AttributeProto::FLOAT);
  return m.bytes();
}

void import_and_look(const std::string& bytes) {
  const Result<Import> r = import_string(bytes);
  if (r) return;
  EXPECT_FALSE(r.error().what.empty());
  EXPECT_FALSE(r.error().where.empty()) << r.error().text();
}

// The process's peak so far; asan keeps freed memory back and is not measured.
void expect_small_memory() {
#if !defined(__SANITIZE_ADDRESS__)
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 200 * 1024);
#endif
}

TEST(ImporterSmoke, GoodModelIsGood) {
  const Result<Import> r = import_string(small_model());
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(r->graph.outputs.size(), 2u);
}

TEST(ImporterSmoke, EveryTruncation) {
  const std::string good = small_model();
  size_t accepted = 0;
  for (size_t n = 0; n < good.size(); ++n) accepted += import_string(good.substr(0, n)).has_value();
  EXPECT_LE(accepted, 2u);  // cut between two top-level fields that nothing needs
  for (size_t n = 0; n < good.size(); ++n) import_and_look(good.substr(0, n));
}

TEST(ImporterSmoke, EveryBitFlip) {
  const std::string good = small_model();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    import_and_look(bad);
  }
  expect_small_memory();
}

TEST(ImporterSmoke, RandomEdits) {
  const std::string good = small_model();
  std::mt19937_64 random(20240607);
  for (int round = 0; round < 20'000; ++round) {
    std::string bad = good;
    for (uint64_t edits = 1 + random() % 6; edits > 0; --edits) {
      const size_t at = random() % bad.size();
      switch (random() % 4) {
        case 0:
          bad[at] = static_cast<char>(random());
          break;
        case 1:
          bad.erase(at, 1 + random() % 9);
          break;
        case 2:
          bad.insert(at, std::string(1 + random() % 9, static_cast<char>(random())));
          break;
        default:
          bad.insert(at, bad.substr(random() % bad.size(), random() % 40));
          break;
      }
      if (bad.empty()) bad = "x";
    }
    import_and_look(bad);
  }
  expect_small_memory();
}

TEST(ImporterSmoke, RandomBytes) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string bad(random() % 200, '\0');
    for (char& c : bad) c = static_cast<char>(random());
    import_and_look(bad);
  }
  expect_small_memory();
}

// Edits fields instead of bytes, so that the damage gets past the wire format: every message of the model, found by
// reflection, has scalars set to awkward values and entries dropped, doubled or exchanged.
class FieldEditor {
 public:
  explicit FieldEditor(uint64_t seed) : random_(seed) {}

  void edit(google::protobuf::Message& root) {
    std::vector<google::protobuf::Message*> all{&root};
    for (size_t i = 0; i < all.size(); ++i) collect(*all[i], all);
    for (uint64_t n = 1 + random_() % 3; n > 0; --n) edit_one(*all[random_() % all.size()]);
  }

 private:
  using Field = google::protobuf::FieldDescriptor;

  static std::vector<const Field*> fields_of(const google::protobuf::Message& m) {
    std::vector<const Field*> fields;
    m.GetReflection()->ListFields(m, &fields);
    return fields;
  }
  static void collect(google::protobuf::Message& m, std::vector<google::protobuf::Message*>& out) {
    const auto* r = m.GetReflection();
    for (const Field* f : fields_of(m)) {
      if (f->cpp_type() != Field::CPPTYPE_MESSAGE) continue;
      if (!f->is_repeated()) out.push_back(r->MutableMessage(&m, f));
      for (int i = 0; f->is_repeated() && i < r->FieldSize(m, f); ++i)
        out.push_back(r->MutableRepeatedMessage(&m, f, i));
    }
  }

  int64_t awkward() {
    static constexpr int64_t kValues[] = {0,         1,        -1, 2, 7, 255, INT32_MAX, INT32_MIN, int64_t{1} << 40,
                                          INT64_MAX, INT64_MIN};
    return kValues[random_() % std::size(kValues)];
  }
  std::string name() {
    static const std::string kNames[] = {"",    "x",  "y",    "w", "cond",  "Relu", "Conv",
                                         "Add", "If", "Loop", "f", "local", "axis", std::string("a\0b", 3),
                                         "\xff"};
    return kNames[random_() % std::size(kNames)];
  }

  // Returns before touching anything when the message is empty; child messages may be removed, so edits end the walk.
  void edit_one(google::protobuf::Message& m) {
    const std::vector<const Field*> fields = fields_of(m);
    if (fields.empty()) return;
    const Field* f = fields[random_() % fields.size()];
    const auto* r = m.GetReflection();
    if (f->is_repeated() && r->FieldSize(m, f) > 0) {
      const int last = r->FieldSize(m, f) - 1, any = static_cast<int>(random_() % static_cast<uint64_t>(last + 1));
      switch (random_() % 3) {
        case 0:
          r->SwapElements(&m, f, any, last);
          break;
        case 1:
          if (f->cpp_type() == Field::CPPTYPE_INT64) r->SetRepeatedInt64(&m, f, any, awkward());
          if (f->cpp_type() == Field::CPPTYPE_STRING) r->SetRepeatedString(&m, f, any, name());
          break;
        default:
          if (f->cpp_type() == Field::CPPTYPE_INT64) r->AddInt64(&m, f, awkward());
          if (f->cpp_type() == Field::CPPTYPE_STRING) r->AddString(&m, f, name());
          if (f->cpp_type() == Field::CPPTYPE_MESSAGE) {
            std::unique_ptr<google::protobuf::Message> copy(r->GetRepeatedMessage(m, f, any).New());
            copy->CopyFrom(r->GetRepeatedMessage(m, f, any));
            r->AddMessage(&m, f)->CopyFrom(*copy);
          }
      }
      return;
    }
    switch (f->cpp_type()) {
      case Field::CPPTYPE_INT64:
        r->SetInt64(&m, f, awkward());
        break;
      case Field::CPPTYPE_INT32:
        r->SetInt32(&m, f, static_cast<int32_t>(random_() % 30));
        break;
      case Field::CPPTYPE_FLOAT:
        r->SetFloat(&m, f, -1e30f);
        break;
      case Field::CPPTYPE_STRING:
        r->SetString(&m, f, random_() % 2 ? name() : r->GetString(m, f) + "+");
        break;
      case Field::CPPTYPE_ENUM:
        r->SetEnumValue(&m, f, static_cast<int>(random_() % 15));
        break;
      default:
        break;
    }
  }

  std::mt19937_64 random_;
};

TEST(ImporterSmoke, RandomFieldEdits) {
  const std::string good = small_model();
  std::map<bool, int> count;
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    onnx::ModelProto m;
    m.ParseFromString(good);
    FieldEditor(seed).edit(m);
    SCOPED_TRACE(seed);
    const Result<Import> r = import_string(m.SerializeAsString());
    ++count[r.has_value()];
    if (!r) {
      EXPECT_FALSE(r.error().where.empty()) << r.error().text();
    }
  }
  EXPECT_GT(count[true], 1000);  // both outcomes are common, or the edits test little
  EXPECT_GT(count[false], 1000);
  expect_small_memory();
}

}  // namespace
}  // namespace fcc::test

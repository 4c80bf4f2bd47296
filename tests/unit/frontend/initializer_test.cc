// Every storage form of a tensor gives the same constant.
#include "frontend/digest.h"
#include "tests/unit/frontend/import_run.h"

namespace fcc::test {
namespace {

using onnx::TensorProto;

// A model with one initializer "w" of the given type and shape, filled by the callback, that it also returns.
Tensor stored(int type, Ints dims, const std::function<void(TensorProto&)>& fill) {
  ModelMaker m;
  m.input("x", {1});
  m.node("Relu", {"x"}, {"y"});
  m.output("y");
  auto* t = m.g().add_initializer();
  t->set_name("w");
  t->set_data_type(type);
  for (int64_t d : dims) t->add_dims(d);
  fill(*t);
  return constant_named(import_good(m), "w");
}

template <class T>
std::string raw(std::vector<T> v) {
  return {reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T)};
}

TEST(Initializer, RawOfEveryType) {
  EXPECT_EQ(stored(1, {2}, [](auto& t) { t.set_raw_data(raw<float>({1.5f, -2})); }).to_doubles(), (Doubles{1.5, -2}));
  EXPECT_EQ(stored(11, {2}, [](auto& t) { t.set_raw_data(raw<double>({1.5, -2})); }).to_doubles(), (Doubles{1.5, -2}));
  EXPECT_EQ(stored(2, {2}, [](auto& t) { t.set_raw_data(raw<uint8_t>({0, 255})); }).to_ints(), (Ints{0, 255}));
  EXPECT_EQ(stored(3, {2}, [](auto& t) { t.set_raw_data(raw<int8_t>({-128, 127})); }).to_ints(), (Ints{-128, 127}));
  EXPECT_EQ(stored(4, {1}, [](auto& t) { t.set_raw_data(raw<uint16_t>({65535})); }).to_ints(), (Ints{65535}));
  EXPECT_EQ(stored(5, {1}, [](auto& t) { t.set_raw_data(raw<int16_t>({-7})); }).to_ints(), (Ints{-7}));
  EXPECT_EQ(stored(6, {1}, [](auto& t) { t.set_raw_data(raw<int32_t>({-7})); }).to_ints(), (Ints{-7}));
  EXPECT_EQ(stored(7, {1}, [](auto& t) { t.set_raw_data(raw<int64_t>({INT64_MIN})); }).to_ints(), (Ints{INT64_MIN}));
  EXPECT_EQ(stored(12, {1}, [](auto& t) { t.set_raw_data(raw<uint32_t>({4294967295u})); }).to_ints(),
            (Ints{4294967295}));
  EXPECT_EQ(stored(13, {1}, [](auto& t) { t.set_raw_data(raw<uint64_t>({9})); }).to_ints(), (Ints{9}));
  EXPECT_EQ(stored(10, {2}, [](auto& t) { t.set_raw_data(raw<uint16_t>({0x3c00, 0xc000})); }).to_doubles(),
            (Doubles{1, -2}));
  EXPECT_EQ(stored(16, {2}, [](auto& t) { t.set_raw_data(raw<uint16_t>({0x3f80, 0xc000})); }).to_doubles(),
            (Doubles{1, -2}));
}

TEST(Initializer, BoolIsZeroOrOneWhateverTheFileHolds) {
  const Tensor t = stored(9, {3}, [](auto& p) { p.set_raw_data(raw<uint8_t>({0, 1, 77})); });
  EXPECT_EQ(t.dtype(), DType::boolean);
  EXPECT_EQ(t.as<uint8_t>()[2], 1);
  const Tensor u = stored(9, {2}, [](auto& p) {
    p.add_int32_data(5);
    p.add_int32_data(0);
  });
  EXPECT_EQ(u.as<uint8_t>()[0], 1);
  EXPECT_EQ(u.as<uint8_t>()[1], 0);
}

TEST(Initializer, TypedFields) {
  EXPECT_EQ(stored(1, {2},
                   [](auto& t) {
                     t.add_float_data(1);
                     t.add_float_data(2);
                   })
                .to_doubles(),
            (Doubles{1, 2}));
  EXPECT_EQ(stored(11, {1}, [](auto& t) { t.add_double_data(0.1); }).to_doubles(), (Doubles{0.1}));
  EXPECT_EQ(stored(7, {1}, [](auto& t) { t.add_int64_data(INT64_MAX); }).to_ints(), (Ints{INT64_MAX}));
  EXPECT_EQ(stored(3, {2},
                   [](auto& t) {
                     t.add_int32_data(-128);
                     t.add_int32_data(3);
                   })
                .to_ints(),
            (Ints{-128, 3}));
  EXPECT_EQ(stored(4, {1}, [](auto& t) { t.add_int32_data(65535); }).to_ints(), (Ints{65535}));
  EXPECT_EQ(stored(12, {1}, [](auto& t) { t.add_uint64_data(4294967295u); }).to_ints(), (Ints{4294967295}));
  EXPECT_EQ(stored(13, {1}, [](auto& t) { t.add_uint64_data(8); }).to_ints(), (Ints{8}));
  EXPECT_EQ(stored(10, {1}, [](auto& t) { t.add_int32_data(0x3c00); }).to_doubles(), (Doubles{1}));
  EXPECT_EQ(stored(16, {1}, [](auto& t) { t.add_int32_data(0xc000); }).to_doubles(), (Doubles{-2}));
}

TEST(Initializer, ScalarAndEmpty) {
  const Tensor scalar = stored(1, {}, [](auto& t) { t.add_float_data(7); });
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.get_double(0), 7);
  const Tensor empty = stored(1, {0, 3}, [](auto&) {});
  EXPECT_EQ(empty.shape(), (Ints{0, 3}));
  EXPECT_EQ(empty.elements(), 0);
}

TEST(Initializer, SparseBecomesDense) {
  ModelMaker m = relu_model();
  auto* s = m.g().add_sparse_initializer();
  const float values[2] = {5, 6};
  const int64_t at[4] = {0, 1, 1, 2};
  ModelMaker::fill(*s->mutable_values(), "s", kFloat, {2}, values, sizeof values);
  ModelMaker::fill(*s->mutable_indices(), "", kInt64, {2, 2}, at, sizeof at);
  s->add_dims(2);
  s->add_dims(3);
  const Tensor t = constant_named(import_good(m), "s");
  EXPECT_EQ(t.shape(), (Ints{2, 3}));
  EXPECT_EQ(t.to_doubles(), (Doubles{0, 5, 0, 0, 0, 6}));
}

TEST(Initializer, EqualWeightsShareBytesButStayApart) {
  ModelMaker m = relu_model();
  m.floats("a", {100}, std::vector<float>(100, 1));
  m.floats("b", {100}, std::vector<float>(100, 1));
  m.floats("c", {10, 10}, std::vector<float>(100, 1));
  const Import i = import_good(m);
  ASSERT_EQ(i.initializers.size(), 3u);
  EXPECT_NE(i.initializers[0].second, i.initializers[1].second);
  EXPECT_EQ(constant_named(i, "a").raw(), constant_named(i, "b").raw());
  EXPECT_NE(constant_named(i, "a").raw(), constant_named(i, "c").raw());  // another shape is another tensor
}

TEST(Initializer, ListedAsInputIsAConstantUnlessAskedFor) {
  ModelMaker m = add_model();
  m.input("w", {2, 3});
  EXPECT_EQ(import_good(m).graph.inputs().size(), 1u);
  const Import kept = import_good(m, {.initializers_stay_inputs = true});
  EXPECT_EQ(kept.graph.inputs().size(), 2u);
  EXPECT_TRUE(kept.initializers.empty());
}

// Large weights are not copied out of the parsed file, and live on after it.
TEST(Initializer, LargeRawDataOutlivesTheModel) {
  std::vector<float> values(5000);
  for (size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(k);
  Import i;
  {
    ModelMaker m = relu_model();
    m.floats("big", {5000}, values);
    i = import_good(m);
  }
  EXPECT_EQ(constant_named(i, "big").get_double(4999), 4999);
}

TEST(Constant, EveryForm) {
  ModelMaker m = relu_model();
  using onnx::AttributeProto;
  ModelMaker::fill(*attribute(m.node("Constant", {}, {"tensor"}), "value", AttributeProto::TENSOR).mutable_t(), "",
                   kInt64, {1}, "\5\0\0\0\0\0\0\0", 8);
  set(m.node("Constant", {}, {"int"}), "value_int", int64_t{1} << 60);
  set(m.node("Constant", {}, {"ints"}), "value_ints", Ints{3, 4});
  set(m.node("Constant", {}, {"float"}), "value_float", 0.5f);
  attribute(m.node("Constant", {}, {"floats"}), "value_floats", AttributeProto::FLOATS).add_floats(2.5f);
  attribute(m.node("Constant", {}, {"none"}), "value_ints", AttributeProto::INTS);
  auto* s = attribute(m.node("Constant", {}, {"sparse"}), "sparse_value", AttributeProto::SPARSE_TENSOR)
                .mutable_sparse_tensor();
  const float nine = 9;
  const int64_t at = 2;
  ModelMaker::fill(*s->mutable_values(), "", kFloat, {1}, &nine, 4);
  ModelMaker::fill(*s->mutable_indices(), "", kInt64, {1}, &at, 8);
  s->add_dims(4);
  const Import i = import_good(m);
  EXPECT_EQ(constant_named(i, "tensor").to_ints(), (Ints{5}));
  EXPECT_EQ(constant_named(i, "int").to_ints(), (Ints{int64_t{1} << 60}));
  EXPECT_EQ(constant_named(i, "int").rank(), 0);
  EXPECT_EQ(constant_named(i, "ints").to_ints(), (Ints{3, 4}));
  EXPECT_EQ(constant_named(i, "float").to_doubles(), (Doubles{0.5}));
  EXPECT_EQ(constant_named(i, "floats").to_doubles(), (Doubles{2.5}));
  EXPECT_EQ(constant_named(i, "none").shape(), (Ints{0}));
  EXPECT_EQ(constant_named(i, "sparse").to_doubles(), (Doubles{0, 0, 9, 0}));
}

TEST(ExternalData, OffsetsAlignmentAndSharing) {
  const TempDir dir;
  std::vector<float> values(3000);
  for (size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(k);
  dir.write("sub/w.bin", "abc" + raw(values));  // offset 3: no float is aligned
  ModelMaker m = relu_model();
  external(m.floats("odd", {3000}, {}), {{"location", "sub/w.bin"}, {"offset", "3"}, {"length", "12000"}});
  external(m.floats("rest", {2}, {}), {{"location", "sub/w.bin"}, {"offset", "11995"}});
  external(m.floats("none", {0}, {}), {{"location", "sub/w.bin"}, {"offset", "12003"}, {"length", "0"}});
  m.g().mutable_initializer(1)->mutable_external_data(1)->set_value("12003");
  dir.write("sub/w.bin", "abc" + raw(values) + raw<float>({8, 9}));
  const Result<Import> r = import_file(dir.write("m.onnx", m.bytes()));
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(constant_named(*r, "odd").get_double(2999), 2999);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(constant_named(*r, "odd").raw()) % 4, 0u);
  EXPECT_EQ(constant_named(*r, "rest").to_doubles(), (Doubles{8, 9}));
  EXPECT_EQ(constant_named(*r, "none").elements(), 0);
}

TEST(ExternalData, AlignedDataIsMappedNotCopied) {
  const TempDir dir;
  dir.write("w.bin", std::string(8192, '\0'));
  ModelMaker m = relu_model();
  for (const char* name : {"a", "b"}) external(m.floats(name, {2048}, {}), {{"location", "w.bin"}});
  const Result<Import> r = import_file(dir.write("m.onnx", m.bytes()));
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(constant_named(*r, "a").raw(), constant_named(*r, "b").raw());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(constant_named(*r, "a").raw()) % 4096, 0u);
}

std::span<const std::byte> bytes_of(const std::string& s) {
  return std::as_bytes(std::span(s));
}

TEST(Digest, KnownValues) {
  EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(bytes_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(bytes_of(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha1_hex(bytes_of("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(sha1_hex(bytes_of(std::string(1'000'000, 'a'))), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  // lengths around the padding's edge
  EXPECT_EQ(sha256_hex(bytes_of(std::string(55, 'a'))),
            "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(sha256_hex(bytes_of(std::string(56, 'a'))),
            "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
  EXPECT_EQ(sha256_hex(bytes_of(std::string(64, 'a'))),
            "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

TEST(Import, CarriesTheModelsIdentity) {
  ModelMaker m = relu_model();
  m.m.set_producer_name("pytorch");
  m.m.set_producer_version("2.9");
  auto* kv = m.m.add_metadata_props();
  kv->set_key("licence");
  kv->set_value("MIT");
  const std::string bytes = m.bytes();
  const Result<Import> r = import_string(bytes);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->producer, "pytorch 2.9");
  EXPECT_EQ(r->metadata.at("licence"), "MIT");
  EXPECT_EQ(r->opset, 17);
  EXPECT_EQ(r->ir_version, 8);
  EXPECT_EQ(r->sha256, sha256_hex(bytes_of(bytes)));
  EXPECT_EQ(r->graph.file, "m.onnx");
}

TEST(TensorFile, RoundTripOfEveryType) {
  const TempDir dir;
  for (DType t : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i8, DType::i16, DType::i32, DType::i64,
                  DType::u8, DType::u16, DType::u32, DType::u64, DType::boolean}) {
    Tensor in(t, {2, 3});
    for (int64_t k = 0; k < 6; ++k) in.set_int(k, t == DType::boolean ? k % 2 : k);
    ASSERT_TRUE(write_tensor_proto(dir.file("t.pb"), "name", in));
    const Result<NamedTensor> out = read_tensor_proto(dir.file("t.pb"));
    ASSERT_TRUE(out) << out.error().text();
    EXPECT_EQ(out->name, "name");
    EXPECT_TRUE(out->tensor.same_bits(in)) << name(t);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);  // nothing is left beside it
}

TEST(TensorFile, SequencesAreRefused) {
  // SequenceProto: name = 1, elem_type = 2 (1: tensor), tensor_values = 3
  const std::string inner = write_tensor_proto("a", f32({1}, {2}));
  const std::string sequence = std::string("\x0a\x01s\x10\x01\x1a") + static_cast<char>(inner.size()) + inner;
  const Result<NamedTensor> r = read_tensor_proto(bytes_of(sequence), "input_0.pb");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().text(),
            "error: \"input_0.pb\" is no serialised tensor\n   at: input_0.pb\n hint: sequences, maps and optionals "
            "are not supported");
}

}  // namespace
}  // namespace fcc::test

// The source model with gaps: filled with the file's own values it is the file again, byte for byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "tools/driver/onnx_skeleton.h"
#include "tools/files.h"

namespace fcc {
namespace {

std::string varint(uint64_t n) {
  std::string s;
  for (; n >= 0x80; n >>= 7) s.push_back(static_cast<char>(n | 0x80));
  s.push_back(static_cast<char>(n));
  return s;
}
std::string field(uint32_t number, const std::string& contents) {
  return varint(number << 3 | 2) + varint(contents.size()) + contents;
}
std::string field(uint32_t number, uint64_t value) {
  return varint(number << 3) + varint(value);
}

std::string floats(std::vector<float> values) {
  return {reinterpret_cast<const char*>(values.data()), 4 * values.size()};
}

std::string tensor(const std::string& name, int64_t n, const std::string& payload) {
  return field(1, static_cast<uint64_t>(n)) + field(2, 1) + field(8, name) + payload;
}
std::string raw(const std::string& bytes) {
  return field(9, bytes);
}
std::string node(const std::string& op, const std::string& in, const std::string& out) {
  return field(1, in) + field(2, out) + field(4, op);
}
std::string model(const std::string& graph) {
  return field(1, 8) + field(7, graph) + field(2, std::string("a writer")) + field(777, std::string("unknown to us"));
}

// What the runtime does at export.
std::string filled(const std::string& section, const std::map<std::string, std::string>& values) {
  uint32_t gaps;
  uint64_t names, bytes;
  std::memcpy(&gaps, section.data() + 8, 4);
  std::memcpy(&names, section.data() + 16, 8);
  std::memcpy(&bytes, section.data() + 24, 8);
  const size_t table = 32, names_at = table + 32 * gaps + 64, text_at = names_at + names;
  EXPECT_EQ(section.size(), text_at + bytes);
  std::string out;
  uint64_t done = 0;
  for (uint32_t i = 0; i < gaps; ++i) {
    uint64_t gap[4];
    std::memcpy(gap, section.data() + table + 32 * i, 32);
    const std::string& value = values.at(section.substr(names_at + gap[2], gap[3]));
    EXPECT_EQ(value.size(), gap[1]);
    out += section.substr(text_at + done, gap[0] - done) + value;
    done = gap[0];
  }
  return out + section.substr(text_at + done);
}

OnnxSkeleton skeleton(const std::string& bytes, const std::vector<SkeletonState>& states,
                      const std::string& folder = "") {
  Result<OnnxSkeleton> s = onnx_skeleton(std::as_bytes(std::span(bytes)), folder, states, std::string(64, 'a'));
  EXPECT_TRUE(s) << (s ? "" : s.error().text());
  return s ? *s : OnnxSkeleton();
}

const SkeletonState kW{"w", DType::f32, {3}}, kB{"b", DType::f32, {2}};

TEST(Skeleton, OwnValuesGiveTheFileAgain) {
  const std::string w = floats({1, 2, 3}), b = floats({4, 5}), other = floats({6});
  const std::string bytes = model(field(1, node("Relu", "x", "y")) + field(5, tensor("w", 3, raw(w))) +
                                  field(5, tensor("other", 1, raw(other))) + field(5, tensor("b", 2, field(4, b))) +
                                  field(2, std::string("graph")));
  const OnnxSkeleton s = skeleton(bytes, {kW, kB});
  EXPECT_TRUE(s.missing.empty());
  EXPECT_EQ(s.section.find(w), s.section.npos);
  EXPECT_NE(s.section.find(other), s.section.npos);
  EXPECT_EQ(filled(s.section, {{"w", w}, {"b", b}}), bytes);
  EXPECT_NE(filled(s.section, {{"w", floats({9, 2, 3})}, {"b", b}}), bytes);
}

TEST(Skeleton, FloatsWrittenOneByOneBecomeRawData) {
  std::string one_by_one;
  for (float v : {1.0f, 2.0f, 3.0f}) one_by_one += varint(4 << 3 | 5) + floats({v});
  const OnnxSkeleton s = skeleton(model(field(5, tensor("w", 3, one_by_one))), {kW});
  EXPECT_EQ(filled(s.section, {{"w", floats({7, 8, 9})}}), model(field(5, tensor("w", 3, raw(floats({7, 8, 9}))))));
}

TEST(Skeleton, ExternalDataIsTakenIn) {
  TemporaryFolder folder;
  ASSERT_TRUE(write_text_file(folder.path() + "/weights.bin", "....." + floats({4, 5}) + floats({1, 2, 3})));
  auto external = [](const std::string& offset, const std::string& length) {
    auto entry = [](const std::string& key, const std::string& value) {
      return field(13, field(1, key) + field(2, value));
    };
    return entry("location", "weights.bin") + entry("offset", offset) + entry("length", length) + field(14, 1);
  };
  const std::string bytes =
      model(field(5, tensor("b", 2, external("5", "8"))) + field(5, tensor("w", 3, external("13", "12"))));
  const OnnxSkeleton s = skeleton(bytes, {kW}, folder.path());
  EXPECT_EQ(filled(s.section, {{"w", floats({7, 8, 9})}}),
            model(field(5, tensor("b", 2, raw(floats({4, 5})))) + field(5, tensor("w", 3, raw(floats({7, 8, 9}))))));
  EXPECT_FALSE(onnx_skeleton(std::as_bytes(std::span(bytes)), "/nowhere", {kW}, ""));
}

// torch.onnx.export writes running_var as Identity(weight) when both are all ones.
TEST(Skeleton, AnIdentityThatIsAStateBecomesAnInitializer) {
  const std::string w = floats({1, 1, 1});
  const std::string bytes = model(field(1, node("Identity", "w", "running_var")) + field(1, node("Relu", "x", "y")) +
                                  field(5, tensor("w", 3, raw(w))));
  const OnnxSkeleton s = skeleton(bytes, {kW, {"running_var", DType::f32, {3}}});
  EXPECT_TRUE(s.missing.empty());
  EXPECT_EQ(filled(s.section, {{"w", w}, {"running_var", floats({2, 2, 2})}}),
            model(field(1, node("Relu", "x", "y")) + field(5, tensor("w", 3, raw(w))) +
                  field(5, tensor("running_var", 3, raw(floats({2, 2, 2}))))));
}

// torch.onnx.export with optimize=True keeps equal initializers once; fcc train gives each user a copy of its own.
TEST(Skeleton, CopiesOfASharedTensorBecomeInitializers) {
  auto norm = [](const std::string& x, const std::string& scale, const std::string& mean, const std::string& var) {
    return field(1, x) + field(1, scale) + field(1, scale) + field(1, mean) + field(1, var) + field(2, x + "y") +
           field(4, std::string("BatchNormalization"));
  };
  const std::string w = floats({1, 1, 1}), b = floats({5, 5, 5});
  auto file = [&](const std::string& second, const std::string& var, const std::string& more) {
    return model(field(1, node("Identity", "w", "gone")) + field(1, norm("p", "w", "m", var)) +
                 field(1, norm("q", second, "m", "v")) + field(5, tensor("w", 3, raw(w))) +
                 field(5, tensor("m", 3, raw(b))) + field(5, tensor("v", 3, raw(b))) + more);
  };
  const OnnxSkeleton s =
      skeleton(file("w", "w", ""),
               {kW, {"w.1", DType::f32, {3}}, {"w.running_var", DType::f32, {3}}, {"gone", DType::f32, {3}}});
  EXPECT_TRUE(s.missing.empty());
  std::string expected = file("w.1", "w.running_var",
                              field(5, tensor("w.running_var", 3, raw(floats({7, 7, 7})))) +
                                  field(5, tensor("w.1", 3, raw(floats({8, 8, 8})))) +
                                  field(5, tensor("gone", 3, raw(floats({9, 9, 9})))));
  const std::string identity = field(1, node("Identity", "w", "gone"));
  const std::string got =
      filled(s.section,
             {{"w", w}, {"w.1", floats({8, 8, 8})}, {"w.running_var", floats({7, 7, 7})}, {"gone", floats({9, 9, 9})}});
  // The same graph without the Identity: its length is another, so compare from the first node on.
  EXPECT_EQ(expected.find(identity), expected.find(field(1, norm("p", "w", "m", "w.running_var"))) - identity.size());
  EXPECT_EQ(got.substr(got.find(field(1, norm("p", "w", "m", "w.running_var")))),
            expected.substr(expected.find(identity) + identity.size()));
}

TEST(Skeleton, WhatCannotBePutBackIsNamed) {
  const OnnxSkeleton s = skeleton(model(field(5, tensor("w", 3, raw(floats({1, 2, 3}))))), {kW, kB});
  EXPECT_EQ(s.missing, std::vector<std::string>{"b"});
  EXPECT_THAT(s.notes[0], ::testing::HasSubstr("leaves the file's values of b"));
}

TEST(Skeleton, AStateOfAnotherTypeKeepsTheFilesValues) {
  const std::string bytes = model(field(5, tensor("w", 3, raw(floats({1, 2, 3})))));
  const OnnxSkeleton s = skeleton(bytes, {{"w", DType::f64, {3}}});
  EXPECT_EQ(s.missing, std::vector<std::string>{"w"});
  EXPECT_EQ(filled(s.section, {}), bytes);
}

TEST(Skeleton, ExamplesRoundTrip) {
  for (const char* name : {"digits/digits_mlp.onnx", "digits/digits_cnn.onnx", "house_price/house_price.onnx"}) {
    const std::string bytes = read_text_file(std::string(FCC_SOURCE_DIR "/examples/") + name).value();
    const OnnxSkeleton s = skeleton(bytes, {});
    EXPECT_EQ(filled(s.section, {}), bytes) << name;
  }
}

TEST(Skeleton, DamagedBytesAreRefusedNotRead) {
  const std::string bytes = model(field(5, tensor("w", 3, raw(floats({1, 2, 3})))));
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    const std::string part = bytes.substr(0, cut);
    (void)onnx_skeleton(std::as_bytes(std::span(part)), "", {kW}, "");
  }
}

}  // namespace
}  // namespace fcc

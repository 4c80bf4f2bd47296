#include "tools/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "tools/files.h"

namespace fcc {
namespace {

using testing::HasSubstr;

// A file as NumPy writes it, from its header text and data bytes.
std::vector<std::byte> file_of(int version, std::string header, std::string_view data) {
  const size_t prefix = version == 1 ? 10 : 12;
  header.append(64 - (prefix + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  for (size_t k = 0; k < prefix - 8; ++k) file += static_cast<char>(header.size() >> 8 * k & 0xff);
  file += header;
  file += data;
  const auto bytes = std::as_bytes(std::span(file));
  return {bytes.begin(), bytes.end()};
}

std::string header(std::string_view descr, std::string_view shape, std::string_view order = "False") {
  return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}", descr, order, shape);
}

std::string refusal(const std::vector<std::byte>& file) {
  Result<Tensor> t = parse_npy(file, "x.npy");
  EXPECT_FALSE(t);
  return t ? "" : t.error().text();
}

TEST(Npy, WritesAndReadsEveryType) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x.npy";
  for (int k = 1; k <= kDTypeCount; ++k) {
    const auto dtype = static_cast<DType>(k);
    Tensor t(dtype, {2, 3});
    for (int64_t i = 0; i < 6; ++i)
      t.set_double(i, dtype == DType::boolean ? static_cast<double>(i % 2) : static_cast<double>(i));
    ASSERT_TRUE(write_npy(path, t));
    Result<Tensor> raw = read_npy(path);
    ASSERT_TRUE(raw) << raw.error().text();
    EXPECT_EQ(raw->dtype(), dtype == DType::bf16 ? DType::u16 : dtype) << name(dtype);
    Result<Tensor> back = as_dtype(*raw, dtype, path);
    ASSERT_TRUE(back);
    EXPECT_TRUE(back->same_bits(t)) << name(dtype);
  }
}

TEST(Npy, KeepsSpecialValuesAndOddShapes) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x.npy";
  const float values[] = {NAN, -INFINITY, -0.0f, std::numeric_limits<float>::denorm_min()};
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{4}, {1, 4, 1}, {2, 2}}) {
    const Tensor t = Tensor::of<float>(DType::f32, shape, values);
    ASSERT_TRUE(write_npy(path, t));
    EXPECT_TRUE(read_npy(path)->same_bits(t));
  }
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{}, {0}, {3, 0, 2}}) {
    ASSERT_TRUE(write_npy(path, Tensor(DType::i64, shape)));
    Result<Tensor> back = read_npy(path);
    ASSERT_TRUE(back) << back.error().text();
    EXPECT_EQ(back->shape(), shape);
  }
}

TEST(Npy, AlignsTheDataAsNumPyDoes) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x.npy";
  ASSERT_TRUE(write_npy(path, Tensor(DType::f32, {7})));
  EXPECT_EQ(read_file(path)->size() % 64, 28u);
}

TEST(Npy, ReadsVersionsOneToThree) {
  const std::string_view data("\x00\x00\x80\x3f\x00\x00\x00\x40", 8);
  for (int version : {1, 2, 3}) {
    Result<Tensor> t = parse_npy(file_of(version, header("<f4", "(2,)"), data), "x.npy");
    ASSERT_TRUE(t) << t.error().text();
    EXPECT_THAT(t->to_doubles(), testing::ElementsAre(1, 2));
  }
  EXPECT_THAT(refusal(file_of(4, header("<f4", "(2,)"), data)), HasSubstr("version 4, known are 1 to 3"));
}

TEST(Npy, SwapsBigEndianData) {
  const std::string_view data("\x3f\x80\x00\x00\x40\x00\x00\x00", 8);
  EXPECT_THAT(parse_npy(file_of(1, header(">f4", "(2,)"), data), "x.npy")->to_doubles(), testing::ElementsAre(1, 2));
}

TEST(Npy, MakesEveryTrueByteOne) {
  const std::string_view data("\x00\x01\x07", 3);
  EXPECT_THAT(parse_npy(file_of(1, header("|b1", "(3,)"), data), "x.npy")->to_ints(), testing::ElementsAre(0, 1, 1));
}

TEST(Npy, RefusesWithASentence) {
  EXPECT_THAT(refusal({}), HasSubstr("x.npy: this is not a .npy file"));
  EXPECT_THAT(refusal(file_of(1, header("<f4", "(2,)"), "1234567")),
              HasSubstr("truncated: its header announces 8 bytes of data, it has 7"));
  EXPECT_THAT(refusal(file_of(1, header("<f4", "(2,)"), "123456789")),
              HasSubstr("too long: its header announces 8 bytes of data, it has 9"));
  EXPECT_THAT(refusal(file_of(1, header("<f4", "(2, 1)", "True"), "12345678")), HasSubstr("ascontiguousarray"));
  EXPECT_THAT(refusal(file_of(1, header("|O", "(2,)"), "12345678")), HasSubstr("pickled Python objects"));
  EXPECT_THAT(refusal(file_of(1, header("<U3", "(2,)"), "12345678")), HasSubstr("NumPy type '<U3' are not supported"));
  EXPECT_THAT(refusal(file_of(1, header("<c8", "(1,)"), "12345678")), HasSubstr("not supported"));
  EXPECT_THAT(refusal(file_of(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "12345678")),
              HasSubstr("records"));
  EXPECT_THAT(refusal(file_of(1, "{'descr': '<f4', 'shape': (2,), }", "12345678")),
              HasSubstr("lacks descr, fortran_order or shape"));
  EXPECT_THAT(refusal(file_of(1, header("<f4", "(2"), "12345678")),
              HasSubstr("header of this .npy file cannot be read"));
  EXPECT_THAT(refusal(file_of(1, header("<f4", "(-2,)"), "12345678")), HasSubstr("cannot be read"));
  EXPECT_THAT(refusal(file_of(1, header("<f4", "(4611686018427387904, 4)"), "12345678")), HasSubstr("truncated"));
}

TEST(Npy, RefusesEveryTruncationAndSurvivesEveryFlippedBit) {
  const std::vector<std::byte> good = file_of(1, header("<f4", "(2, 3)"), std::string(24, 'x'));
  ASSERT_TRUE(parse_npy(good, "x.npy"));
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_npy(std::span(good).first(n), "x.npy")) << n;
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= std::byte{1} << bit % 8;
    (void)parse_npy(bad, "x.npy");  // any answer, no crash
  }
}

TEST(Npy, SaysHowToConvertAWrongType) {
  Result<Tensor> t = as_dtype(Tensor(DType::f64, {2}), DType::f32, "x.npy");
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().what, "x.npy: the input wants f32, this array is f64");
  EXPECT_THAT(t.error().hint, HasSubstr("astype(\"float32\")"));
  EXPECT_FALSE(as_dtype(Tensor(DType::u16, {2}), DType::f16, "x.npy"));
  EXPECT_TRUE(as_dtype(Tensor(DType::u16, {2}), DType::bf16, "x.npy"));
}

}  // namespace
}  // namespace fcc

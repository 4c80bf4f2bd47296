// Data for training: what the readers accept and refuse, batches, splits.
#include <fstream>
#include <set>

#include "train_support.h"

namespace fcc::test {
namespace {

std::string idx(unsigned char type, std::vector<uint32_t> dims, const std::string& data) {
  std::string bytes = {0, 0, static_cast<char>(type), static_cast<char>(dims.size())};
  for (uint32_t dim : dims)
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(dim >> shift));
  return bytes + data;
}

TEST(Idx, ReadsEveryType) {
  Array images = parse_idx(idx(8, {2, 3}, std::string("\x00\x01\x02\xff\x10\x20", 6)), "a");
  EXPECT_EQ(images.dims(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(images.as<uint8_t>()[3], 255);
  EXPECT_FLOAT_EQ(images.to<float>(1 / 255.0).as<float>()[3], 1.0f);
  EXPECT_EQ(parse_idx(idx(12, {1}, std::string("\x00\x00\x01\x02", 4)), "a").as<int32_t>()[0], 258);
  EXPECT_EQ(parse_idx(idx(13, {1}, std::string("\x3f\x80\x00\x00", 4)), "a").as<float>()[0], 1.0f);
}

TEST(Idx, RefusesDamagedFiles) {
  std::string good = idx(8, {2, 3}, "abcdef");
  auto said = [](const std::string& bytes) { return error_of(FCC_BAD_FILE, [&] { parse_idx(bytes, "x.idx"); }); };
  EXPECT_EQ(said(good.substr(0, good.size() - 1)),
            "x.idx: this IDX file is cut short: its header announces 6 bytes of data, it has 5");
  EXPECT_NE(said(good + "g").find("too long"), std::string::npos);
  EXPECT_NE(said(good.substr(0, 9)).find("ends inside its header"), std::string::npos);
  EXPECT_NE(said("").find("no IDX file"), std::string::npos);
  EXPECT_NE(said("PK\x03\x04").find("no IDX file"), std::string::npos);
  EXPECT_NE(said("\x1f\x8b\x08").find("gunzip it"), std::string::npos);
  EXPECT_NE(said(idx(8, {0xffffffff, 0xffffffff, 0xffffffff}, "a")).find("too many bytes"), std::string::npos);
}

std::string npy(const std::string& header, const std::string& data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes.push_back(static_cast<char>(header.size()));
  bytes.push_back(0);
  return bytes + header + data;
}

TEST(Npy, ReadsAndRefuses) {
  Array a = parse_npy_array(
      npy("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 1), }", std::string("\1\0\2\0", 4)), "a");
  EXPECT_EQ(a.dims(), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(a.as<int16_t>()[1], 2);
  EXPECT_EQ(parse_npy_array(npy("{'descr': '>i2', 'fortran_order': False, 'shape': (), }", std::string("\1\0", 2)), "a")
                .as<int16_t>()[0],
            256);
  auto said = [](const std::string& bytes) { return error_of(FCC_BAD_FILE, [&] { parse_npy_array(bytes, "a"); }); };
  EXPECT_NE(said(npy("{'descr': '<i2', 'fortran_order': True, 'shape': (2,), }", "abcd")).find("C order"),
            std::string::npos);
  EXPECT_NE(said(npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "abcd")).find("not supported"),
            std::string::npos);
  EXPECT_NE(said(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }", "abcd")).find("does not hold"),
            std::string::npos);
  EXPECT_NE(said("abc").find("no .npy file"), std::string::npos);
}

TEST(Csv, ReadsNumbersAndRefusesTheRest) {
  Array a = parse_csv("size,price\n1,2.5\n-3e1, 4\r\n\n", "a.csv");
  EXPECT_EQ(a.dims(), (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(a.as<float>()[2], -30.0f);
  EXPECT_EQ(take_columns(a, 1, 1).as<float>()[1], 4.0f);
  auto said = [](const std::string& bytes) { return error_of(FCC_BAD_FILE, [&] { parse_csv(bytes, "a.csv"); }); };
  EXPECT_EQ(said("1,2\n3\n"), "a.csv: line 2 has 1 columns, the lines before have 2");
  EXPECT_EQ(said("1,2\n3,x\n"), "a.csv: line 2: \"x\" is no number");
  EXPECT_EQ(said("a,b\n"), "a.csv: there are no numbers in this file");
}

TEST(Batches, CoverEveryRowOnceAnEpoch) {
  Array x = Array::of<int32_t>({103, 2}), y = Array::of<int64_t>({103});
  for (int64_t r = 0; r < 103; ++r) {
    x.as<int32_t>()[static_cast<size_t>(2 * r)] = static_cast<int32_t>(r);
    y.as<int64_t>()[static_cast<size_t>(r)] = 7 * r;
  }
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch : {0, 1, 0}) {
    std::vector<int64_t> order;
    std::vector<int64_t> sizes;
    BatchOptions options;
    options.size = 25, options.shuffle = true, options.seed = 9, options.epoch = epoch;
    for (auto [bx, by] : batches(x, y, options)) {
      sizes.push_back(bx.rows());
      for (int64_t r = 0; r < bx.rows(); ++r) {
        order.push_back(static_cast<const int32_t*>(bx.data())[2 * r]);
        EXPECT_EQ(static_cast<const int64_t*>(by.data())[r], 7 * order.back());
      }
    }
    EXPECT_EQ(sizes, (std::vector<int64_t>{25, 25, 25, 25, 3}));
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 103u);
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_EQ(orders[0], orders[2]);
  BatchOptions options;
  options.size = 25, options.drop_last = true, options.first = 1;
  int count = 0;
  for (auto [bx, by] : batches(x, y, options)) count += bx.rows() == 25 && by.rows() == 25;
  EXPECT_EQ(count, 3);
}

TEST(Batches, RefuseWhatCannotBeBatched) {
  Array x = Array::of<float>({4, 2}), y = Array::of<int64_t>({5}), none = Array::of<float>({0, 2});
  EXPECT_STREQ(error_of(FCC_BAD_SHAPE, [&] { batches(x, y); }).c_str(), "the arrays have 4 and 5 rows");
  error_of(FCC_BAD_SHAPE, [&] { batches(none); });
  BatchOptions options;
  options.size = 0;
  error_of(FCC_BAD_ARGUMENT, [&] { batches(x, options); });
}

TEST(Split, PartsAreDisjointAndComplete) {
  auto [train, held] = split_rows(1000, 0.2, 4);
  EXPECT_EQ(train.size(), 800u);
  EXPECT_EQ(held.size(), 200u);
  std::set<int64_t> all(train.begin(), train.end());
  all.insert(held.begin(), held.end());
  EXPECT_EQ(all.size(), 1000u);
  EXPECT_NE(held[0], 800);
}

TEST(Standardize, GivesMeanZeroAndDeviationOne) {
  Array a = parse_csv("1,5\n2,5\n3,5\n6,5\n", "a");
  Moments m = moments(a);
  EXPECT_DOUBLE_EQ(m.mean[0], 3);
  EXPECT_DOUBLE_EQ(m.deviation[1], 1);  // a constant column
  Array s = standardize(a, m);
  EXPECT_NEAR(moments(s).mean[0], 0, 1e-7);
  EXPECT_NEAR(moments(s).deviation[0], 1, 1e-6);
  EXPECT_EQ(s.as<float>()[1], 0.0f);
}

}  // namespace
}  // namespace fcc::test

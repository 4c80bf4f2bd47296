// Files as data: compressed ones, archives, folders of images, tables with their targets inside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>

#include "fcc/train.hpp"
#include "tools/data/archive.h"
#include "tools/data/dataset.h"
#include "tools/data/images.h"
#include "tools/files.h"

namespace fcc {
namespace {

using ::testing::HasSubstr;

std::string deflated(const std::string& bytes, int window_bits) {
  z_stream z{};
  deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(bytes.size() + 200, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

TEST(Archive, GunzipsWholeAndRefusesDamagedFiles) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += static_cast<char>(i * i >> 3);
  const std::string packed = deflated(text, 31);
  EXPECT_EQ(gunzip(packed, "a").value(), text);
  EXPECT_EQ(gunzip(packed + packed, "a").value(), text + text);
  for (size_t cut : {size_t{1}, packed.size() / 2, packed.size() - 1}) EXPECT_FALSE(gunzip(packed.substr(0, cut), "a"));
  std::string broken = packed;
  broken[packed.size() / 2] ^= 0x55;
  EXPECT_FALSE(gunzip(broken, "a"));
}

std::string word(uint32_t n, int bytes) {
  std::string s;
  for (int i = 0; i < bytes; ++i) s.push_back(static_cast<char>(n >> 8 * i));
  return s;
}

// A zip of two members, the first stored and the second deflated.
std::string zip(const std::string& a, const std::string& b) {
  const std::string packed = deflated(b, -15);
  std::string out, directory;
  auto add = [&](const std::string& name, uint32_t method, const std::string& data, size_t size) {
    const std::string sizes = word(0, 4) + word(static_cast<uint32_t>(data.size()), 4) +
                              word(static_cast<uint32_t>(size), 4) + word(static_cast<uint32_t>(name.size()), 2) +
                              word(0, 2);
    directory += "PK\x01\x02" + word(20, 2) + word(20, 2) + word(0, 2) + word(method, 2) + word(0, 4) + sizes +
                 word(0, 2) + word(0, 4) + word(0, 4) + word(static_cast<uint32_t>(out.size()), 4) + name;
    out += "PK\x03\x04" + word(20, 2) + word(0, 2) + word(method, 2) + word(0, 4) + sizes + name + data;
  };
  add("x.npy", 0, a, a.size());
  add("y.npy", 8, packed, b.size());
  const auto at = static_cast<uint32_t>(out.size());
  return out + directory + "PK\x05\x06" + word(0, 4) + word(2, 2) + word(2, 2) +
         word(static_cast<uint32_t>(directory.size()), 4) + word(at, 4) + word(0, 2);
}

TEST(Archive, ReadsNpzAndSurvivesEveryCutAndFlip) {
  const std::string b(5000, 'b'), bytes = zip("aaaa", b);
  auto members = read_npz(bytes, "a").value();
  EXPECT_EQ(members["x"], "aaaa");
  EXPECT_EQ(members["y"], b);
  for (size_t cut = 0; cut < bytes.size(); ++cut) EXPECT_FALSE(read_npz(bytes.substr(0, cut), "a")) << cut;
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] ^= 0x40;
    (void)read_npz(flipped, "a");  // no crash; a checksum would notice more
  }
}

TEST(Images, ParsesBinaryAndPlainOnes) {
  Array gray = parse_pnm(std::string("P5 # a comment\n2 2 255\n\x00\x10\x20\xff", 27), "a").value();
  EXPECT_EQ(gray.dims(), (std::vector<int64_t>{1, 2, 2}));
  EXPECT_EQ(gray.as<uint8_t>()[3], 255);
  Array color = parse_pnm("P3\n1 2\n15\n15 0 0  0 15 5\n", "a").value();
  EXPECT_EQ(color.dims(), (std::vector<int64_t>{3, 2, 1}));
  EXPECT_EQ(color.as<uint8_t>()[0], 255);
  EXPECT_EQ(color.as<uint8_t>()[3], 255);
  EXPECT_EQ(color.as<uint8_t>()[5], 85);
  for (const char* bad : {"", "P5", "P7 1 1 255\nx", "P5 2 2 255\nabc", "P5 -1 2 255\n", "P5 1 1 65535\nab",
                          "P2 1 1 255\n256", "P2 1 1 255\n", "P5 9999999 9999999 255\n"})
    EXPECT_FALSE(parse_pnm(bad, "a")) << bad;
}

class DataFolder : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& bytes) {
    const std::string path = folder_.path() + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    EXPECT_TRUE(write_text_file(path, bytes));
    return path;
  }
  Result<DataSet> load(const DataFiles& files) {
    return load_data(files, *fcc_session_table(trainer_.session("train_step")), 1);
  }
  TemporaryFolder folder_;
  Trainer trainer_ = Trainer::load(FCC_TRAIN_MODELS "/softmax.so");
};

TEST_F(DataFolder, OneFolderAClass) {
  write("photos/dog/1.ppm", "P6 2 1 255\nabcdef");
  write("photos/cat/2.ppm", "P6 2 1 255\nghijkl");
  write("photos/cat/1.ppm", "P6 2 1 255\nmnopqr");
  write("photos/cat/notes.txt", "not an image");
  ImageFolder f = read_image_folder(folder_.path() + "/photos").value();
  EXPECT_EQ(f.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(f.images.dims(), (std::vector<int64_t>{3, 3, 1, 2}));
  EXPECT_EQ(f.images.as<uint8_t>()[0], 'm');
  EXPECT_EQ(f.labels.as<int64_t>()[2], 1);
  write("photos/dog/2.ppm", "P6 1 1 255\nabc");
  EXPECT_THAT(read_image_folder(folder_.path() + "/photos").error().text(),
              HasSubstr("dog/2.ppm: this image is [3,1,1], the others are [3,1,2]"));
  EXPECT_THAT(read_image_folder(folder_.path() + "/photos/cat").error().text(),
              HasSubstr("there are no images in this folder"));
}

TEST_F(DataFolder, ATableHoldsItsTarget) {
  DataFiles files{.data = {write("t.csv", "a;b;c;d;label\n1;2;3;4;0\n5;6;7;8;2\n")}, .targets = {}};
  DataSet set = load(files).value();
  EXPECT_EQ(set.inputs[0].dims(), (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(set.targets[0].as<float>()[1], 2.0f);
  files.target_columns = 5;
  EXPECT_THAT(load(files).error().text(), HasSubstr("5 columns cannot be split into data and 5 target columns"));
}

TEST_F(DataFolder, NamesOfInputsAndArrays) {
  const std::string table = write("t.csv", "1,2,3,4\n"), labels = write("y.csv", "1\n");
  EXPECT_TRUE(load({.data = {"x=" + table}, .targets = {"target=" + labels}}));
  EXPECT_THAT(load({.data = {table, table}, .targets = {labels}}).error().text(),
              HasSubstr("the model takes 1 here: x"));
  EXPECT_THAT(load({.data = {folder_.path() + "/none.npy"}, .targets = {labels}}).error().text(),
              HasSubstr("none.npy"));
  EXPECT_THAT(load({.data = {write("z.npy", "hello")}, .targets = {labels}}).error().text(),
              HasSubstr("this is no IDX file"));
}

}  // namespace
}  // namespace fcc

#include "tools/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

namespace fcc {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(Files, ReplacesAFileAndLeavesNothingBeside) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x";
  ASSERT_TRUE(write_text_file(path, "one"));
  ASSERT_TRUE(write_text_file(path, "two and more"));
  EXPECT_EQ(*read_text_file(path), "two and more");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(Files, KeepsTheOldFileWhenWritingFails) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x";
  fs::create_directory(path);  // rename onto a folder fails after the data was written
  Status status = write_text_file(path, "new");
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().what, HasSubstr("cannot write " + path));
  EXPECT_TRUE(fs::is_directory(path));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
  EXPECT_FALSE(write_text_file(folder.path() + "/missing/x", "new"));
}

TEST(Files, HonoursTheUmask) {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x";
  const mode_t before = ::umask(027);
  ASSERT_TRUE(write_text_file(path, "x"));
  ::umask(before);
  struct stat info;
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST(Files, ReadsOnlyRegularFiles) {
  TemporaryFolder folder;
  EXPECT_THAT(read_file(folder.path()).error().what, HasSubstr("it is a folder"));
  EXPECT_THAT(read_file("/dev/zero").error().what, HasSubstr("not a regular file"));
  EXPECT_THAT(read_file(folder.path() + "/none").error().what, HasSubstr("No such file"));
  const std::string fifo = folder.path() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(read_file(fifo).error().what, HasSubstr("not a regular file"));
}

TEST(TemporaryFolder, IsRemovedWithItsContents) {
  std::string path;
  {
    TemporaryFolder folder;
    path = folder.path();
    ASSERT_TRUE(write_text_file(path + "/x", "x"));
  }
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace fcc

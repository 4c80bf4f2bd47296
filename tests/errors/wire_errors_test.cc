// Rows 1 to 16: bytes that are no ONNX model, and paths that are no files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <thread>

#include "tests/errors/error_cases.h"

namespace fcc::test {
namespace {

ErrorCase file_case(std::string name, std::function<std::string(const TempDir&)> make) {
  return {std::move(name), [=](const TempDir& dir) { return import_file(make(dir)); }};
}

std::string varint(uint64_t v) {
  std::string s;
  for (; v >= 0x80; v >>= 7) s += static_cast<char>(v | 0x80);
  return s + static_cast<char>(v);
}
// A field of bytes: tag, length, content.
std::string field(int number, const std::string& content) {
  return varint(static_cast<uint64_t>(number) << 3 | 2) + varint(content.size()) + content;
}

std::string nested_graphs(int depth) {
  std::string graph = field(2, "g");
  for (int i = 0; i < depth; ++i)
    graph = field(1, field(4, "If") + field(5, field(1, "then_branch") + field(6, graph)));
  return field(7, graph);
}

std::string unix_socket(const TempDir& dir) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, dir.file("s").c_str(), sizeof(address.sun_path) - 1);
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  ::close(fd);
  return dir.file("s");
}

std::string fifo(const TempDir& dir) {
  ::mkfifo(dir.file("fifo.onnx").c_str(), 0600);
  return dir.file("fifo.onnx");
}

std::string sparse_file(const TempDir& dir, off_t size) {
  const std::string path = dir.write("big.onnx", "");
  EXPECT_EQ(::truncate(path.c_str(), size), 0);
  return path;
}

const std::string kZeros(64, '\0');

std::vector<ErrorCase> cases() {
  return {
      file_case("r01_empty_file", [](const TempDir& d) { return d.write("m.onnx", ""); }),
      bad_bytes("r01_no_bytes", [] { return std::string(); }),
      bad_bytes("r02_one_byte", [] { return std::string("\x08"); }),
      bad_bytes("r02_one_zero", [] { return std::string(1, '\0'); }),
      bad_bytes("r03_truncated", [] { return relu_model().bytes().substr(0, 30); }),
      bad_bytes("r04_zeros", [] { return kZeros; }),
      bad_bytes("r04_random", [] { return std::string("\x9a\x31\xf7\x02\x58\xc3\xe1\x7d\x44\x90\x0b\x66"); }),
      bad_bytes("r06_json", [] { return std::string("{\"graph\": []}"); }),
      bad_bytes("r06_zip", [] { return "PK\x03\x04" + kZeros; }),
      bad_bytes("r06_pickle", [] { return "\x80\x02}q" + kZeros; }),
      bad_bytes("r06_png", [] { return "\x89PNG\r\n\x1a\n" + kZeros; }),
      bad_bytes("r06_tflite", [] { return std::string("\x1c\0\0\0TFL3", 8) + kZeros; }),
      bad_bytes("r06_ort", [] { return std::string("\x1c\0\0\0ORTM", 8) + kZeros; }),
      bad_bytes("r06_gguf", [] { return "GGUF" + kZeros; }),
      bad_bytes("r06_safetensors", [] { return std::string("\x40\0\0\0\0\0\0\0{\"w\":", 13) + kZeros; }),
      bad_bytes("r06_html", [] { return std::string("<!DOCTYPE html><html>"); }),
      bad_bytes("r06_git_lfs", [] { return std::string("version https://git-lfs.github.com/spec/v1\noid sha256:00"); }),
      bad_bytes("r06_elf",
                [] {
                  return "\x7f"
                         "ELF" +
                         kZeros;
                }),
      bad_bytes("r06_text_form", [] { return std::string("ir_version: 8\ngraph { }"); }),
      bad_bytes("r07_long_varint", [] { return std::string("\x08") + std::string(10, '\xff') + "\x01"; }),
      bad_bytes("r08_length_past_end", [] { return "\x3a\x7f" + std::string(5, 'x'); }),
      bad_bytes("r08_inner_length_past_outer",
                [] {
                  return field(7, field(1, std::string("\x22\x7f"
                                                       "Relu")));
                }),
      bad_bytes("r09_length_2_31", [] { return "\x3a" + varint(uint64_t{1} << 31) + "x"; }),
      bad_bytes("r09_length_2_32", [] { return "\x3a" + varint(uint64_t{1} << 32) + "x"; }),
      bad_bytes("r09_length_2_63", [] { return "\x3a" + varint(uint64_t{1} << 63) + "x"; }),
      bad_bytes("r10_groups", [] { return std::string(1'000'000, '\x0b'); }),
      bad_bytes("r11_messages_101_deep", [] { return nested_graphs(40); }),
      bad_bytes("wire_type_7", [] { return std::string("\x0f\x01"); }),
      bad_bytes("field_number_0", [] { return std::string("\x02\x01x"); }),
      bad_bytes("empty_node", [] { return field(7, field(1, "")); }),
      bad_model(
          "r12_unknown_fields", [] { return relu_model(); },
          [](ModelMaker& m) { m.m.mutable_unknown_fields()->AddVarint(3000, 1); }),
      bad_model(
          "r13_bad_utf8_input", [] { return relu_model(); },
          [](ModelMaker& m) { m.g().mutable_input(0)->set_name("\xff\xfe"); }),
      bad_model(
          "r13_nul_in_output", [] { return relu_model(); },
          [](ModelMaker& m) { m.g().mutable_node(0)->set_output(0, std::string("a\0b", 3)); }),
      bad_model(
          "r13_control_bytes_in_node_name", [] { return relu_model(); },
          [](ModelMaker& m) {
            m.g().mutable_node(0)->set_name("a\n\x1b[31mb");
            m.g().mutable_node(0)->set_op_type("Rellu");
          }),
      file_case("r14_three_gib", [](const TempDir& d) { return sparse_file(d, off_t{3} << 30); }),
      file_case("r15_directory", [](const TempDir& d) { return d.path(); }),
      file_case("r15_fifo", fifo),
      file_case("r15_socket", unix_socket),
      file_case("r15_dev_zero", [](const TempDir&) { return std::string("/dev/zero"); }),
      file_case("r16_missing", [](const TempDir& d) { return d.file("nothing.onnx"); }),
      file_case("r16_below_a_file", [](const TempDir& d) { return d.write("f", "x") + "/m.onnx"; }),
      file_case("r16_dangling_link",
                [](const TempDir& d) {
                  std::filesystem::create_symlink("nowhere", d.file("l.onnx"));
                  return d.file("l.onnx");
                }),
      file_case("r16_no_name", [](const TempDir&) { return std::string(); }),
  };
}

TEST(Errors, Wire) {
  check_error_cases("wire", cases());
}

TEST(Errors, UnreadableFile) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  const TempDir dir;
  const std::string path = dir.write("secret.onnx", "x");
  ::chmod(path.c_str(), 0);
  EXPECT_EQ(import_file(path).error().what, "\"" + path + "\" cannot be read: Permission denied");
}

// Row 16: whatever another process does to the file meanwhile, there is a model or a sentence.
TEST(Errors, FileThatChangesWhileItIsRead) {
  const TempDir dir;
  const std::string good = relu_model().bytes() + std::string(1 << 20, '\0').replace(0, 4, "\x12\xfc\xff\x3f");
  const std::string path = dir.write("m.onnx", good);
  std::atomic<bool> done = false;
  std::thread other([&] {
    for (int i = 0; !done; ++i) EXPECT_EQ(::truncate(path.c_str(), i % 3 * 400'000), 0);
  });
  std::map<std::string, int> seen;
  for (int i = 0; i < 200; ++i) {
    const Result<Import> r = import_file(path);
    ++seen[r ? "a model" : r.error().what];
  }
  done = true;
  other.join();
  for (const auto& [what, count] : seen)
    EXPECT_THAT(what, testing::AnyOf("a model", testing::HasSubstr("is empty"), testing::HasSubstr("while it was read"),
                                     testing::HasSubstr("the file is damaged"), testing::HasSubstr("no ONNX model")));
}

}  // namespace
}  // namespace fcc::test

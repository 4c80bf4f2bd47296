#include "tests/errors/error_cases.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <ctime>
#include <map>
#include <optional>
#include <sstream>

#include "tests/errors/run_command.h"

namespace fcc::test {
namespace {

std::string expected_path(const std::string& table) {
  return std::string(FCC_SOURCE_DIR) + "/tests/errors/expected/" + table + ".txt";
}

std::map<std::string, std::string> read_sections(const std::string& table) {
  std::map<std::string, std::string> sections;
  std::ifstream in(expected_path(table));
  std::string line, name;
  while (std::getline(in, line)) {
    if (line.starts_with("== "))
      name = line.substr(3);
    else if (line.starts_with("  "))
      sections[name] += line.substr(2) + "\n";
  }
  return sections;
}

std::string replace_all(std::string s, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = s.find(from, at)) != s.npos; at += to.size()) s.replace(at, from.size(), to);
  return s;
}

// Four parts: what, where, what was seen where that says more, and what to do.
void expect_whole(const Diagnostic& d) {
  EXPECT_FALSE(d.what.empty());
  EXPECT_FALSE(d.where.empty()) << d.text();
  EXPECT_FALSE(d.hint.empty()) << d.text();
  for (const Diagnostic& other : d.more) expect_whole(other);
}

// The process's peak so far; asan keeps freed memory back and is not measured.
void expect_small_memory() {
#if !defined(__SANITIZE_ADDRESS__)
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 200 * 1024);
#endif
}

std::string text_of(const Result<Import>& r) {
  std::string text = r ? "accepted" : r.error().text();
  if (r)
    for (const std::string& note : r->notes) text += "\nnote: " + note;
  return text + "\n";
}

// Bytes of the last model that was imported without options; a case that imports otherwise leaves none.
std::optional<std::string>& imported_bytes() {
  static std::optional<std::string> bytes;
  return bytes;
}

#ifdef FCC_COMMAND
void expect_refused_by_command(const TempDir& folder, const std::string& model, const std::string& text) {
  const std::string path = folder.write("m.onnx", model);
  const CommandRun run = compile_in(folder);
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.text, text);
  EXPECT_FALSE(std::filesystem::exists(folder.file("m.so")));
  EXPECT_TRUE(std::filesystem::remove(path));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "the command left a file";
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(run.peak_kb, 200 * 1024);
  EXPECT_LT(run.cpu_seconds, 1);
#endif
}
#else
void expect_refused_by_command(const TempDir&, const std::string&, const std::string&) {}
#endif

}  // namespace

Result<Import> import_string(const std::string& bytes, const std::string& base_dir, const ImportOptions& options) {
  if (base_dir.empty() && options.dims.empty()) imported_bytes() = bytes;
  return import_bytes(std::as_bytes(std::span(bytes)), base_dir, options, "m.onnx");
}

ErrorCase bad_bytes(std::string name, std::function<std::string()> bytes, ImportOptions options) {
  return {std::move(name), [=](const TempDir&) { return import_string(bytes(), "", options); }};
}

ErrorCase bad_model(std::string name, ModelMaker (*good)(), std::function<void(ModelMaker&)> spoil,
                    ImportOptions options) {
  return {std::move(name), [=](const TempDir&) {
            ModelMaker m = good();
            spoil(m);
            return import_string(m.bytes(), "", options);
          }};
}

void check_error_cases(const std::string& table, const std::vector<ErrorCase>& cases) {
  const bool update = std::getenv("FCC_UPDATE_EXPECTED") != nullptr;
  const std::map<std::string, std::string> expected = read_sections(table);
  std::ostringstream written;
  std::map<std::string, int> names;
  for (const ErrorCase& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(++names[c.name], 1) << "two cases of one name";
    const TempDir dir;
    imported_bytes() = std::nullopt;
    const std::clock_t start = std::clock();  // processor time: a busy machine does not matter
    const Result<Import> result = c.run(dir);
    EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC);
    if (!result) expect_whole(result.error());
    const std::string text = replace_all(text_of(result), dir.path(), "DIR");
    // A file may refer to others beside it, which bytes cannot.
    if (!result && imported_bytes() && text.find("did not come from a file") == text.npos)
      expect_refused_by_command(TempDir(), *imported_bytes(), text);
    written << "== " << c.name << "\n";
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) written << "  " << line << "\n";
    if (!update) {
      EXPECT_EQ(text, expected.contains(c.name) ? expected.at(c.name) : "(not in the file)");
    }
  }
  expect_small_memory();
  if (update) std::ofstream(expected_path(table)) << written.str();
  if (!update) {
    EXPECT_EQ(expected.size(), cases.size()) << "the file has sections that no case makes";
  }
}

}  // namespace fcc::test

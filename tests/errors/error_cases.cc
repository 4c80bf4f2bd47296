#include "tests/errors/error_cases.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <map>
#include <sstream>

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

std::string text_of(const Result<Import>& r) {
  std::string text = r ? "accepted" : r.error().text();
  if (r)
    for (const std::string& note : r->notes) text += "\nnote: " + note;
  return text + "\n";
}

}  // namespace

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
    const std::clock_t start = std::clock();  // processor time: a busy machine does not matter
    const std::string text = replace_all(text_of(c.run(dir)), dir.path(), "DIR");
    EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC);
    written << "== " << c.name << "\n";
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) written << "  " << line << "\n";
    if (!update) {
      EXPECT_EQ(text, expected.contains(c.name) ? expected.at(c.name) : "(not in the file)");
    }
  }
  if (update) std::ofstream(expected_path(table)) << written.str();
  if (!update) {
    EXPECT_EQ(expected.size(), cases.size()) << "the file has sections that no case makes";
  }
}

}  // namespace fcc::test

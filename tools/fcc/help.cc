#include "tools/fcc/help.h"

#include <fmt/format.h>

#include <algorithm>

#include "fcc/fcc.h"
#include "ir/base/env.h"

namespace fcc {
namespace {

constexpr size_t kWidth = 100;

struct OptionDoc {
  std::string names;  // "-o, --output FILE"
  std::string text;
};

std::string argument_of(const CLI::Option& option) {
  std::string type = option.get_type_name();
  type.resize(std::min(type.find(':'), type.size()));  // CLI11 appends what its validators check
  if (option.get_items_expected_max() == 0) return "";
  return type.empty() ? "VALUE" : type;
}

std::vector<OptionDoc> option_docs(const CLI::App& app) {
  std::vector<OptionDoc> docs;
  for (const CLI::Option* option : app.get_options()) {
    OptionDoc doc{.names = {}, .text = option->get_description()};
    if (option->get_positional()) {
      doc.names = option->get_name(true) + (option->get_expected_max() > 1 ? " ..." : "");
      std::ranges::transform(doc.names, doc.names.begin(),
                             [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      docs.insert(docs.begin(), std::move(doc));
      continue;
    }
    for (const std::string& name : option->get_snames()) doc.names += (doc.names.empty() ? "-" : ", -") + name;
    for (const std::string& name : option->get_lnames()) doc.names += (doc.names.empty() ? "--" : ", --") + name;
    if (std::string argument = argument_of(*option); !argument.empty()) doc.names += " " + argument;
    docs.push_back(std::move(doc));
  }
  return docs;
}

std::vector<OptionDoc> option_docs(const Command& command) {
  CLI::App app;
  app.set_help_flag("--help,-h", "show this page");
  command.setup(app);
  return option_docs(app);
}

// Words filled to kWidth, every line indented.
std::string fill(std::string_view text, size_t indent) {
  std::string out(indent, ' ');
  size_t column = indent;
  bool line_start = true;
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\n') {
      out += '\n' + std::string(indent, ' ');
      column = indent, line_start = true, ++at;
      continue;
    }
    size_t end = std::min(text.find_first_of(" \n", at), text.size());
    std::string_view word = text.substr(at, end - at);
    if (!line_start && column + 1 + word.size() > kWidth) {
      out += '\n' + std::string(indent, ' ');
      column = indent, line_start = true;
    }
    if (!line_start) out += ' ', ++column;
    out += word;
    column += word.size();
    line_start = false;
    at = end < text.size() && text[end] == ' ' ? end + 1 : end;
  }
  return out + "\n";
}

std::string two_columns(const std::vector<OptionDoc>& rows) {
  constexpr size_t kLeft = 28;
  std::string out;
  for (const OptionDoc& row : rows) {
    std::string text = fill(row.text, kLeft);
    if (row.names.size() + 4 <= kLeft) {
      out += fmt::format("  {:<{}}{}", row.names, kLeft - 2, std::string_view(text).substr(kLeft));
    } else {
      out += fmt::format("  {}\n{}", row.names, text);
    }
  }
  return out;
}

std::string examples_text(const std::vector<Example>& examples) {
  std::string out;
  for (const Example& e : examples) out += fmt::format("  {}\n      {}\n", e.command, e.what);
  return out;
}

constexpr const char* kExitText =
    "0 done; 1 the model or the data is at fault (the reason is on stderr); 2 wrong usage; 3 a bug of fcc. "
    "Results go to stdout, everything else to stderr.";

std::vector<OptionDoc> environment_rows() {
  std::vector<OptionDoc> rows;
  for (const EnvVar& v : env_table()) rows.push_back({std::string(v.name), std::string(v.what)});
  uint32_t count = 0;
  const fcc_env_variable* runtime = fcc_environment(&count);
  for (const fcc_env_variable& v : std::span(runtime, count)) {
    if (std::ranges::find(rows, v.name, &OptionDoc::names) == rows.end()) rows.push_back({v.name, v.help});
  }
  return rows;
}

// Text as roff: no line may start with a dot or a quote, and hyphens and backslashes are meant literally.
std::string roff(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((i == 0 || text[i - 1] == '\n') && (text[i] == '.' || text[i] == '\'')) out += "\\&";
    if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == '-') {
      out += "\\-";
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string roff_rows(const std::vector<OptionDoc>& rows) {
  std::string out;
  for (const OptionDoc& row : rows) out += fmt::format(".TP\n.B {}\n{}\n", roff(row.names), roff(row.text));
  return out;
}

std::string roff_examples(const std::vector<Example>& examples) {
  std::string out;
  for (const Example& e : examples) out += fmt::format(".TP\n.B {}\n{}\n", roff(e.command), roff(e.what));
  return out;
}

}  // namespace

std::string command_text(const Command& command) {
  return fmt::format("fcc {}\n\n{}\n{}\nExamples:\n{}\nOptions:\n{}\nExit status:\n{}", command.usage,
                     fill(command.summary, 2), fill(command.about, 2), examples_text(command.examples),
                     two_columns(option_docs(command)), fill(kExitText, 2));
}

std::string overview_text() {
  const Command& compile = commands().front();
  std::vector<OptionDoc> words;
  for (const Command& c : commands().subspan(1)) words.push_back({c.name, c.summary});
  return fmt::format(
      "fcc compiles an ONNX model into one shared library of CPU code.\n\nExamples:\n{}\nCommands (fcc COMMAND --help "
      "says more):\n{}\n"
      "Options when compiling:\n{}\nOther:\n{}\nExit status:\n{}",
      examples_text(compile.examples), two_columns(words), two_columns(option_docs(compile)),
      two_columns({{"--help-env", "the environment variables fcc reads"},
                   {"--man", "the manual page, as roff: fcc --man | man -l -"},
                   {"--version", "versions of fcc and of the model ABI"}}),
      fill(kExitText, 2));
}

std::string environment_text() {
  return "Environment variables:\n" + two_columns(environment_rows());
}

std::string manual_page() {
  std::string out = fmt::format(
      ".TH FCC 1 \"\" \"fcc {}\" \"User Commands\"\n.SH NAME\nfcc \\- compile ONNX models into shared libraries\n.SH "
      "SYNOPSIS\n",
      FCC_VERSION);
  for (const Command& c : commands()) out += fmt::format(".B fcc\n{}\n.br\n", roff(c.usage));
  for (const Command& c : commands()) {
    std::string title = c.name;
    std::ranges::transform(title, title.begin(), [](unsigned char ch) { return static_cast<char>(std::toupper(ch)); });
    out += fmt::format(".SH {}\n{}\n.PP\n{}\n.SS Options\n{}.SS Examples\n{}", title, roff(c.summary), roff(c.about),
                       roff_rows(option_docs(c)), roff_examples(c.examples));
  }
  out += fmt::format(".SH ENVIRONMENT\n{}.SH EXIT STATUS\n{}\n", roff_rows(environment_rows()), roff(kExitText));
  return out;
}

std::string version_text() {
  return fmt::format("fcc {} (model ABI {}, runtime {})\n", FCC_VERSION, FCC_ABI_VERSION, fcc_runtime_version());
}

}  // namespace fcc

#include "training/call_text.h"

#include <algorithm>
#include <locale>
#include <sstream>

namespace fcc::runtime {
namespace {

std::string trimmed(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t\n"), end = text.find_last_not_of(" \t\n");
  return begin == text.npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

bool is_name(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

// Independent of the program's locale.
bool to_double(const std::string& text, double* value) {
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  in >> *value;
  return !in.fail() && in.peek() == std::istringstream::traits_type::eof();
}

}  // namespace

fcc_status CallText::parse(const char* what, std::string_view text, CallText* call) {
  call->what_ = what;
  call->text_ = std::string(text);
  std::string whole = trimmed(text);
  size_t open = whole.find('(');
  call->name_ = trimmed(std::string_view(whole).substr(0, open));
  auto malformed = [&] {
    return fail(FCC_BAD_ARGUMENT, "%s \"%s\" cannot be read\n hint: write NAME or NAME(key=value, key=value)", what,
                call->text_.c_str());
  };
  if (!is_name(call->name_)) return malformed();
  if (open == whole.npos) return FCC_OK;
  if (whole.back() != ')') return malformed();
  std::string inside = whole.substr(open + 1, whole.size() - open - 2);
  if (trimmed(inside).empty()) return FCC_OK;
  std::istringstream parts(inside);
  for (std::string part; std::getline(parts, part, ',');) {
    size_t equals = part.find('=');
    bool lone = equals == part.npos && call->arguments_.empty();  // constant(0.5)
    Argument argument{lone ? "value" : trimmed(std::string_view(part).substr(0, equals)),
                      trimmed(lone ? part : std::string_view(part).substr(equals + 1))};
    if (!lone && equals == part.npos) return malformed();
    if (!is_name(argument.key) || argument.value.empty() || call->has(argument.key)) return malformed();
    call->arguments_.push_back(std::move(argument));
  }
  return FCC_OK;
}

CallText::Argument* CallText::find(std::string_view key) {
  for (Argument& argument : arguments_)
    if (argument.key == key) return &argument;
  return nullptr;
}

bool CallText::has(std::string_view key) const {
  return const_cast<CallText*>(this)->find(key) != nullptr;
}

fcc_status CallText::number(std::string_view key, double* value) {
  Argument* argument = find(key);
  if (argument == nullptr) return FCC_OK;
  argument->used = true;
  if (to_double(argument->value, value)) return FCC_OK;
  return fail(FCC_BAD_ARGUMENT, "%s \"%s\": %s is \"%s\", expected a number", what_, text_.c_str(),
              argument->key.c_str(), argument->value.c_str());
}

fcc_status CallText::numbers(std::string_view key, std::vector<double>* values) {
  Argument* argument = find(key);
  if (argument == nullptr) return FCC_OK;
  argument->used = true;
  std::istringstream parts(argument->value);
  for (std::string part; std::getline(parts, part, ':');) {
    if (to_double(trimmed(part), &values->emplace_back())) continue;
    return fail(FCC_BAD_ARGUMENT, "%s \"%s\": %s is \"%s\", expected numbers such as 30:80", what_, text_.c_str(),
                argument->key.c_str(), argument->value.c_str());
  }
  return FCC_OK;
}

fcc_status CallText::word(std::string_view key, std::string* value) {
  if (Argument* argument = find(key)) {
    argument->used = true;
    *value = argument->value;
  }
  return FCC_OK;
}

fcc_status CallText::all_used(const char* known) const {
  for (const Argument& argument : arguments_)
    if (!argument.used)
      return fail(FCC_BAD_ARGUMENT, "%s \"%s\": %s does not take \"%s\"\n hint: it takes %s", what_, text_.c_str(),
                  name_.c_str(), argument.key.c_str(), known);
  return FCC_OK;
}

}  // namespace fcc::runtime

#include "ir/base/call_text.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace fcc {
namespace {

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.back()))) s.remove_suffix(1);
  return s;
}

bool is_name_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == ':' || c == '/' || c == '-';
}

std::string quoted(std::string_view s) {
  return "\"" + std::string(s) + "\"";
}

// Pieces between separators that stand outside of parentheses, quotes and exponents such as 1e+3.
std::vector<std::string_view> split_outside(std::string_view s, char separator) {
  std::vector<std::string_view> parts;
  int depth = 0;
  bool in_quotes = false;
  size_t start = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '"') in_quotes = !in_quotes;
    if (in_quotes) continue;
    if (s[i] == '(' || s[i] == '[') ++depth;
    if (s[i] == ')' || s[i] == ']') --depth;
    const bool exponent = (separator == '+') && i >= 2 && (s[i - 1] == 'e' || s[i - 1] == 'E') &&
                          std::isdigit(static_cast<unsigned char>(s[i - 2]));
    if (s[i] != separator || depth != 0 || exponent) continue;
    parts.push_back(s.substr(start, i - start));
    start = i + 1;
  }
  parts.push_back(s.substr(start));
  return parts;
}

std::string without_quotes(std::string_view s) {
  s = trimmed(s);
  if (s.size() >= 2 && s.front() == '"' && s.back() == '"') s = s.substr(1, s.size() - 2);
  return std::string(s);
}

}  // namespace

Result<double> parse_number(std::string_view text, std::string_view what) {
  text = trimmed(text);
  if (text == "true") return 1.0;
  if (text == "false") return 0.0;
  double v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size())
    return fail(std::string(what) + " is " + quoted(text) + ", expected a number");
  return v;
}

Result<CallText> parse_call(std::string_view text, std::string_view what) {
  const std::string whole = std::string(what) + " " + quoted(text);
  text = trimmed(text);
  const size_t open = text.find('(');
  const std::string_view name = trimmed(text.substr(0, open));
  CallText call;
  call.name = name;
  const size_t colon = name.find(':');  // output:NAME
  const std::string_view word = name.substr(0, colon);
  if (word.empty() || !std::all_of(word.begin(), word.end(), is_name_char))
    return fail(whole + " does not begin with a name", "", "write name(key=value, ...)");
  if (open == text.npos) return call;
  if (text.back() != ')')
    return fail(whole + " does not end with its closing parenthesis", "", "write name(key=value, ...)");
  const std::string_view inside = trimmed(text.substr(open + 1, text.size() - open - 2));
  if (inside.empty()) return call;
  for (std::string_view part : split_outside(inside, ',')) {
    part = trimmed(part);
    const size_t equals = part.find('=');
    if (part.empty()) return fail(whole + " has an empty argument");
    if (equals == part.npos) {
      call.values.push_back(without_quotes(part));
      continue;
    }
    const std::string key(trimmed(part.substr(0, equals)));
    if (key.empty() || !std::all_of(key.begin(), key.end(), is_name_char))
      return fail(whole + ": " + quoted(part) + " has no key before its =");
    for (const auto& [other, value] : call.options)
      if (other == key) return fail(whole + " gives " + key + " twice");
    call.options.emplace_back(key, without_quotes(part.substr(equals + 1)));
  }
  return call;
}

Result<std::vector<std::pair<double, CallText>>> parse_sum(std::string_view text, std::string_view what) {
  std::vector<std::pair<double, CallText>> terms;
  for (std::string_view part : split_outside(text, '+')) {
    const std::vector<std::string_view> factors = split_outside(part, '*');
    double factor = 1;
    for (size_t i = 0; i + 1 < factors.size(); ++i) {
      FCC_TRY(const double f, parse_number(factors[i], std::string(what) + " " + quoted(text) + ": a factor"));
      factor *= f;
    }
    FCC_TRY(CallText call, parse_call(factors.back(), what));
    terms.emplace_back(factor, std::move(call));
  }
  return terms;
}

const std::string* Arguments::take(std::string_view key) {
  asked_.emplace_back(key);
  for (size_t i = 0; i < call_.options.size(); ++i)
    if (call_.options[i].first == key) {
      used_[i] = true;
      return &call_.options[i].second;
    }
  return nullptr;
}

Result<double> Arguments::number(std::string_view key, double otherwise) {
  const std::string* value = take(key);
  if (!value) return otherwise;
  return parse_number(*value, what_ + " " + call_.name + ": " + std::string(key));
}

std::string Arguments::text(std::string_view key, std::string_view otherwise) {
  const std::string* value = take(key);
  return value ? *value : std::string(otherwise);
}

Status Arguments::finish(size_t most_values) const {
  std::string known;
  for (const std::string& key : asked_) known += (known.empty() ? "" : ", ") + key;
  for (size_t i = 0; i < used_.size(); ++i) {
    if (used_[i]) continue;
    std::vector<std::string_view> candidates(asked_.begin(), asked_.end());
    const std::string_view near = nearest_name(call_.options[i].first, candidates);
    return fail(what_ + " " + call_.name + " has no argument " + quoted(call_.options[i].first), "",
                near.empty() ? (known.empty() ? "it takes none" : "it knows " + known)
                             : "did you mean " + std::string(near) + "?");
  }
  if (call_.values.size() > most_values)
    return fail(what_ + " " + call_.name + ": " + quoted(call_.values[most_values]) + " has no key", "",
                known.empty() ? "" : "it knows " + known);
  return {};
}

}  // namespace fcc

// JSON as safetensors headers hold it: objects, strings, whole numbers and arrays of them.
//
// The runtime has no dependencies, and a checkpoint must be read strictly: this parser refuses what JSON does not
// allow, duplicate keys, numbers that are not whole, and nesting deeper than a header needs. It is not a general JSON
// library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fcc::runtime {

struct Json {
  enum class Kind : uint8_t { object, array, string, integer };
  Kind kind = Kind::object;
  std::string string;
  int64_t integer = 0;
  std::vector<std::pair<std::string, Json>> members;  // of an object, in the order of the text
  std::vector<Json> elements;

  const Json* find(std::string_view key) const;
  bool is(Kind k) const { return kind == k; }
};

// False with a reason: what was wrong and at which byte.
bool parse_json(std::string_view text, Json* value, std::string* why);

// A string with quotes and escapes.
std::string json_quoted(std::string_view text);

}  // namespace fcc::runtime

#include "training/json.h"

#include <unordered_set>

namespace fcc::runtime {
namespace {

constexpr int kDeepest = 8;

bool is_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    auto c = static_cast<unsigned char>(s[i]);
    size_t extra = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 9;
    if (extra == 9 || i + extra >= s.size() + (extra == 0)) return false;
    for (size_t k = 1; k <= extra; ++k)
      if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
    i += extra + 1;
  }
  return true;
}

class Parser {
 public:
  Parser(std::string_view text, std::string* why) : text_(text), why_(why) {}

  bool whole(Json* value) {
    if (!element(value, 0)) return false;
    skip_space();
    return at_ == text_.size() || bad("text after its end");
  }

 private:
  bool bad(const char* what) {
    *why_ = std::string(what) + " at byte " + std::to_string(at_);
    return false;
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool element(Json* value, int depth) {
    if (depth > kDeepest) return bad("nesting too deep");
    skip_space();
    if (at_ >= text_.size()) return bad("it ends too early");
    char c = text_[at_];
    if (c == '{') return object(value, depth);
    if (c == '[') return array(value, depth);
    if (c == '"') {
      value->kind = Json::Kind::string;
      return string(&value->string);
    }
    if (c == '-' || (c >= '0' && c <= '9')) return integer(value);
    return bad("an unexpected character");
  }
  bool object(Json* value, int depth) {
    value->kind = Json::Kind::object;
    take('{');
    std::unordered_set<std::string> keys;
    if (take('}')) return true;
    do {
      skip_space();
      if (at_ >= text_.size() || text_[at_] != '"') return bad("a key is missing");
      auto& member = value->members.emplace_back();
      if (!string(&member.first)) return false;
      if (!keys.insert(member.first).second) {
        *why_ = "the key " + json_quoted(member.first) + " stands there twice";
        return false;
      }
      if (!take(':')) return bad("a ':' is missing");
      if (!element(&member.second, depth + 1)) return false;
    } while (take(','));
    return take('}') || bad("a '}' is missing");
  }
  bool array(Json* value, int depth) {
    value->kind = Json::Kind::array;
    take('[');
    if (take(']')) return true;
    do {
      if (!element(&value->elements.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take(']') || bad("a ']' is missing");
  }
  bool integer(Json* value) {
    value->kind = Json::Kind::integer;
    bool negative = text_[at_] == '-';
    if (negative) ++at_;
    size_t start = at_;
    uint64_t n = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (n > (uint64_t{1} << 62) / 10) return bad("a number too large");
      n = n * 10 + static_cast<uint64_t>(text_[at_] - '0');
    }
    if (at_ == start || (at_ - start > 1 && text_[start] == '0')) return bad("a malformed number");
    if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E'))
      return bad("a number that is not whole");
    value->integer = negative ? -static_cast<int64_t>(n) : static_cast<int64_t>(n);
    return true;
  }
  bool string(std::string* out) {
    ++at_;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      auto c = static_cast<unsigned char>(text_[at_]);
      if (c < 0x20) return bad("a control character in a string");
      if (c != '\\') {
        out->push_back(text_[at_]);
      } else if (!escape(out)) {
        return false;
      }
    }
    if (at_ >= text_.size()) return bad("a string without its end");
    ++at_;
    return is_utf8(*out) || bad("a string that is not UTF-8");
  }
  bool escape(std::string* out) {
    if (++at_ >= text_.size()) return bad("a string without its end");
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (size_t i = kFrom.find(text_[at_]); i != kFrom.npos) {
      out->push_back(kTo[i]);
      return true;
    }
    if (text_[at_] != 'u') return bad("an unknown escape");
    uint32_t code = 0;
    if (!four_digits(&code)) return false;
    if (code >= 0xd800 && code < 0xdc00) {  // a pair stands for one character
      uint32_t low = 0;
      if (text_.substr(at_ + 1, 2) != "\\u") return bad("half a surrogate pair");
      at_ += 2;
      if (!four_digits(&low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return bad("half a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(code, out);
    return true;
  }
  // Leaves at_ on the last digit.
  bool four_digits(uint32_t* code) {
    if (at_ + 4 >= text_.size()) return bad("a string without its end");
    for (int i = 0; i < 4; ++i) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      char c = text_[++at_];
      size_t digit = kDigits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
      if (digit == kDigits.npos) return bad("an escape that is not hexadecimal");
      *code = *code << 4 | static_cast<uint32_t>(digit);
    }
    return true;
  }
  static void append_utf8(uint32_t code, std::string* out) {
    auto byte = [&](uint32_t b) { out->push_back(static_cast<char>(b)); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xc0 | code >> 6), byte(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 0x3f)), byte(0x80 | (code & 0x3f));
    } else {
      byte(0xf0 | code >> 18), byte(0x80 | (code >> 12 & 0x3f)), byte(0x80 | (code >> 6 & 0x3f)),
          byte(0x80 | (code & 0x3f));
    }
  }

  std::string_view text_;
  std::string* why_;
  size_t at_ = 0;
};

}  // namespace

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : members)
    if (name == key) return &value;
  return nullptr;
}

bool parse_json(std::string_view text, Json* value, std::string* why) {
  return Parser(text, why).whole(value);
}

std::string json_quoted(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      out += "\\u00";
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace fcc::runtime

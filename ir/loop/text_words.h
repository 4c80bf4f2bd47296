#pragma once
// Words that the printer and the parser of loop IR share, so that both speak of the same language. Internal to them.
#include <array>
#include <cctype>
#include <string_view>
#include <utility>

#include "ir/loop/loop.h"

namespace fcc::loop::words {

// Binary operations written between their operands; a higher level binds tighter. All others are calls.
struct Infix {
  BinaryOp op;
  std::string_view sign;
  int level;
};
inline constexpr Infix kInfix[] = {{BinaryOp::logical_or, "or", 1}, {BinaryOp::logical_and, "and", 2},
                                   {BinaryOp::eq, "==", 3},         {BinaryOp::ne, "!=", 3},
                                   {BinaryOp::le, "<=", 3},         {BinaryOp::ge, ">=", 3},
                                   {BinaryOp::lt, "<", 3},          {BinaryOp::gt, ">", 3},
                                   {BinaryOp::add, "+", 4},         {BinaryOp::sub, "-", 4},
                                   {BinaryOp::mul, "*", 5},         {BinaryOp::div, "/", 5}};
inline constexpr int kComparisonLevel = 3, kUnaryLevel = 6;

// No variable or buffer is printed under one of these.
inline constexpr std::string_view kReserved[] = {
    "if",    "else",  "true",  "false",  "inf",    "nan",   "and",  "or",     "let",    "for",    "in",
    "alloc", "tile",  "fault", "define", "over",   "split", "step", "select", "fma",    "reduce", "indices",
    "note",  "tiles", "flops", "bytes",  "kernel", "const", "out",  "update", "stack",  "scratch", "prefetch",
    "last",  "columns"};

inline bool starts_identifier(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$';
}
inline bool continues_identifier(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '.';
}
inline bool is_identifier(std::string_view s) {
  if (s.empty() || !starts_identifier(s[0])) return false;
  for (size_t i = 0; i < s.size(); ++i)
    if (!continues_identifier(s[i]) || (s[i] == '.' && i + 1 < s.size() && s[i + 1] == '.')) return false;
  return s.back() != '.';
}

// Words for a buffer's place, by Space; an input that never changes is const.
inline constexpr std::string_view kSpaces[] = {"in", "out", "update", "stack", "scratch"};
inline constexpr std::string_view kConstant = "const";

}  // namespace fcc::loop::words

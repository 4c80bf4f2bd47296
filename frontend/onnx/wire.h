#pragma once
// A look at the bytes before protobuf sees them: every length prefix inside its message, no groups, no deep
// nesting, no empty nodes. protobuf would only say "no"; this says where and why, and nothing is allocated for a
// length that the file does not hold.
#include <cstddef>
#include <span>
#include <string>

#include "ir/base/diagnostic.h"

namespace fcc {

enum class WireRoot { model, tensor };

// Walks all messages of the ONNX schema without recursion. The diagnostic names the byte and the enclosing messages.
Status check_wire(std::span<const std::byte> bytes, WireRoot root);

// What the bytes look like when they are no ONNX: "a zip archive, such as torch.save writes"; "" when unknown.
std::string foreign_format(std::span<const std::byte> bytes);
// What to do about it.
std::string foreign_hint(std::span<const std::byte> bytes);

}  // namespace fcc

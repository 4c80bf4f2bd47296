#pragma once
// Message digests of files: SHA-256 names the source model inside what fcc writes, SHA-1 is what ONNX's external
// data `checksum` key holds. Plain formulas of FIPS 180-4; SHA-256 uses the CPU's instructions where they exist.
// Not for secrets: nothing here is constant-time.
#include <cstddef>
#include <span>
#include <string>

namespace fcc {

// Lower-case hexadecimal.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha1_hex(std::span<const std::byte> bytes);

}  // namespace fcc

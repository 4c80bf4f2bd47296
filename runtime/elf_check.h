// A look at a file before dlopen: is it a whole shared library for this processor?
// dlopen maps segments without comparing them with the file's length, so a truncated file dies with SIGBUS later; this
// refuses it first. It reads headers only and is no defence against a hostile file: loading one is running it.
#pragma once

#include "error.h"

namespace fcc::runtime {

fcc_status check_elf_file(const char* path);

}  // namespace fcc::runtime

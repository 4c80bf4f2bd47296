#pragma once
// Compressed containers that data comes in: gzip streams and the zip files of numpy.savez.
#include <map>
#include <string>
#include <string_view>

#include "ir/base/diagnostic.h"

namespace fcc {

// All members of a gzip stream, one after the other. `name` is for messages.
Result<std::string> gunzip(std::string_view bytes, const std::string& name);

// Member names and contents of a zip file, stored or deflated; "x.npy" is listed as "x".
Result<std::map<std::string, std::string>> read_npz(std::string_view bytes, const std::string& name);

}  // namespace fcc

#pragma once
// Folders of PGM and PPM images, one folder a class, as ImageFolder of torchvision reads them.
#include <string>
#include <vector>

#include "fcc/data.hpp"
#include "ir/base/diagnostic.h"

namespace fcc {

struct ImageFolder {
  Array images;  // u8[rows, channels, height, width]
  Array labels;  // i64[rows]: the position of the folder's name among the sorted names
  std::vector<std::string> classes;
};

Result<ImageFolder> read_image_folder(const std::string& folder);
// One image, u8[channels, height, width]; `name` is for messages. Binary and plain files of 8 bits a sample.
Result<Array> parse_pnm(std::string_view bytes, const std::string& name);

}  // namespace fcc

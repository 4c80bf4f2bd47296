#include "tools/data/images.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "tools/files.h"

namespace fcc {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> sorted_entries(const fs::path& folder, bool folders) {
  std::vector<fs::path> entries;
  for (const fs::directory_entry& e : fs::directory_iterator(folder)) {
    const std::string extension = e.path().extension().string();
    const bool image = extension == ".pgm" || extension == ".ppm" || extension == ".pnm";
    if (folders ? e.is_directory() : e.is_regular_file() && image) entries.push_back(e.path());
  }
  std::ranges::sort(entries);
  return entries;
}

// The numbers of a PNM header, between white space and comments.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view bytes) : bytes_(bytes) {}
  int64_t next() {
    while (at_ < bytes_.size() && (std::isspace(static_cast<unsigned char>(bytes_[at_])) || bytes_[at_] == '#')) {
      if (bytes_[at_] == '#') at_ = std::min(bytes_.find('\n', at_), bytes_.size() - 1);
      ++at_;
    }
    int64_t value = -1;
    auto [end, error] = std::from_chars(bytes_.data() + at_, bytes_.data() + bytes_.size(), value);
    at_ = static_cast<size_t>(end - bytes_.data());
    return error == std::errc() ? value : -1;
  }
  size_t at() const { return at_; }

 private:
  std::string_view bytes_;
  size_t at_ = 2;
};

}  // namespace

Result<Array> parse_pnm(std::string_view bytes, const std::string& name) {
  const bool known =
      bytes.size() > 2 && bytes[0] == 'P' && std::string_view("2356").find(bytes[1]) != std::string_view::npos;
  if (!known) return fail(fmt::format("{}: this is no PGM or PPM image", name));
  const int64_t channels = bytes[1] == '3' || bytes[1] == '6' ? 3 : 1;
  const bool binary = bytes[1] >= '5';
  HeaderReader header(bytes);
  const int64_t width = header.next(), height = header.next(), most = header.next();
  if (width <= 0 || height <= 0 || width > 1 << 20 || height > 1 << 20)
    return fail(fmt::format("{}: the size cannot be read", name));
  if (most <= 0 || most > 255)
    return fail(fmt::format("{}: samples go up to {}", name, most), {}, "images of 8 bits a sample are read");
  Array image = Array::of<uint8_t>({channels, height, width});
  const int64_t plane = width * height;
  const auto have = static_cast<int64_t>(bytes.size()) - static_cast<int64_t>(header.at()) - 1;
  if (binary && have < channels * plane)
    return fail(
        fmt::format("{}: this image is cut short: {} of {} bytes", name, std::max<int64_t>(have, 0), channels * plane));
  for (int64_t i = 0; i < plane; ++i) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t value =
          binary ? static_cast<unsigned char>(bytes[header.at() + 1 + static_cast<size_t>(i * channels + c)])
                 : header.next();
      if (value < 0 || value > most)
        return fail(fmt::format("{}: sample {} is not in 0 to {}", name, i * channels + c, most));
      image.bytes()[c * plane + i] = static_cast<uint8_t>(value * 255 / most);
    }
  }
  return image;
}

Result<ImageFolder> read_image_folder(const std::string& folder) {
  std::vector<Array> images;
  std::vector<int64_t> labels;
  ImageFolder out;
  for (const fs::path& sub : sorted_entries(folder, true)) {
    for (const fs::path& file : sorted_entries(sub, false)) {
      FCC_TRY(std::string bytes, read_text_file(file.string()));
      FCC_TRY(Array image, parse_pnm(bytes, file.string()));
      if (!images.empty() && image.dims() != images[0].dims())
        return fail(fmt::format("{}: this image is [{}], the others are [{}]", file.string(),
                                fmt::join(image.dims(), ","), fmt::join(images[0].dims(), ",")),
                    {}, "bring all images to one size and number of channels");
      images.push_back(std::move(image));
      labels.push_back(static_cast<int64_t>(out.classes.size()));
    }
    out.classes.push_back(sub.filename().string());
  }
  if (images.empty())
    return fail(fmt::format("{}: there are no images in this folder", folder), {},
                "one folder a class, with .pgm or .ppm files: FOLDER/cat/1.ppm, FOLDER/dog/1.ppm");
  std::vector<int64_t> dims = images[0].dims();
  dims.insert(dims.begin(), static_cast<int64_t>(images.size()));
  out.images = Array::of<uint8_t>(dims);
  size_t at = 0;
  for (const Array& image : images)
    at += (std::copy_n(image.bytes(), image.byte_count(), out.images.bytes() + at), image.byte_count());
  out.labels = Array::of<int64_t>({static_cast<int64_t>(labels.size())});
  std::ranges::copy(labels, out.labels.as<int64_t>().begin());
  return out;
}

}  // namespace fcc

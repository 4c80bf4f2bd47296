#include "frontend/onnx/wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace fcc {
namespace {

enum class Kind : uint8_t {
  leaf,
  model,
  graph,
  node,
  attribute,
  tensor,
  sparse,
  value_info,
  type,
  type_tensor,
  type_map,
  shape,
  function,
  training,
  annotation,
  opset
};

struct Child {
  Kind parent;
  uint32_t field;
  Kind kind;
  std::string_view name;
};

// Fields of the ONNX schema that hold messages.
constexpr Child kChildren[] = {
    {Kind::model, 7, Kind::graph, "graph"},
    {Kind::model, 8, Kind::opset, "opset_import"},
    {Kind::model, 14, Kind::leaf, "metadata_props"},
    {Kind::model, 20, Kind::training, "training_info"},
    {Kind::model, 25, Kind::function, "functions"},
    {Kind::graph, 1, Kind::node, "node"},
    {Kind::graph, 5, Kind::tensor, "initializer"},
    {Kind::graph, 15, Kind::sparse, "sparse_initializer"},
    {Kind::graph, 11, Kind::value_info, "input"},
    {Kind::graph, 12, Kind::value_info, "output"},
    {Kind::graph, 13, Kind::value_info, "value_info"},
    {Kind::graph, 14, Kind::annotation, "quantization_annotation"},
    {Kind::node, 5, Kind::attribute, "attribute"},
    {Kind::attribute, 5, Kind::tensor, "t"},
    {Kind::attribute, 6, Kind::graph, "g"},
    {Kind::attribute, 10, Kind::tensor, "tensors"},
    {Kind::attribute, 11, Kind::graph, "graphs"},
    {Kind::attribute, 14, Kind::type, "tp"},
    {Kind::attribute, 15, Kind::type, "type_protos"},
    {Kind::attribute, 22, Kind::sparse, "sparse_tensor"},
    {Kind::attribute, 23, Kind::sparse, "sparse_tensors"},
    {Kind::sparse, 1, Kind::tensor, "values"},
    {Kind::sparse, 2, Kind::tensor, "indices"},
    {Kind::value_info, 2, Kind::type, "type"},
    {Kind::type, 1, Kind::type_tensor, "tensor_type"},
    {Kind::type, 4, Kind::type_map, "sequence_type"},
    {Kind::type, 5, Kind::type_map, "map_type"},
    {Kind::type, 8, Kind::type_tensor, "sparse_tensor_type"},
    {Kind::type, 9, Kind::type_map, "optional_type"},
    {Kind::type_map, 1, Kind::type, "elem_type"},
    {Kind::type_map, 2, Kind::type, "value_type"},
    {Kind::type_tensor, 2, Kind::shape, "shape"},
    {Kind::shape, 1, Kind::leaf, "dim"},
    {Kind::function, 7, Kind::node, "node"},
    {Kind::function, 9, Kind::opset, "opset_import"},
    {Kind::function, 11, Kind::attribute, "attribute_proto"},
    {Kind::function, 12, Kind::value_info, "value_info"},
    {Kind::training, 1, Kind::graph, "initialization"},
    {Kind::training, 2, Kind::graph, "algorithm"},
};
constexpr uint32_t kFields = 32;
constexpr size_t kMaxDepth = 100;  // protobuf's own limit

const Child* child_of(Kind parent, uint32_t field) {
  static const auto table = [] {
    std::array<std::array<const Child*, kFields>, 16> t{};
    for (const Child& c : kChildren) t[static_cast<size_t>(c.parent)][c.field] = &c;
    return t;
  }();
  return field < kFields ? table[static_cast<size_t>(parent)][field] : nullptr;
}

bool must_not_be_empty(Kind k) {
  return k == Kind::node || k == Kind::tensor || k == Kind::attribute || k == Kind::sparse;
}

struct Open {  // a message being walked
  Kind kind;
  size_t end;
  std::string_view name;
  uint32_t index;                           // among its siblings of the same field
  std::array<uint32_t, kFields> seen = {};  // children of each field so far
};

class Walker {
 public:
  Walker(std::span<const std::byte> bytes, WireRoot root) : bytes_(bytes) {
    open_.push_back({root == WireRoot::model ? Kind::model : Kind::tensor, bytes.size(),
                     root == WireRoot::model ? "model" : "tensor", 0});
  }

  Status run() {
    while (!open_.empty()) {
      if (at_ == open_.back().end) {
        open_.pop_back();
        continue;
      }
      FCC_CHECKED(field());
    }
    return {};
  }

 private:
  std::unexpected<Diagnostic> error(size_t at, std::string what) const {
    std::string path;
    for (size_t i = 1; i < open_.size(); ++i) {
      if (i == 6 && open_.size() > 9) path += " / ...";
      if (i >= 6 && i + 3 < open_.size()) continue;
      path += fmt::format("{}{} {}", i > 1 ? " / " : " in ", open_[i].name, open_[i].index);
    }
    return fail("the file is damaged: " + std::move(what), fmt::format("byte {} of {}{}", at, bytes_.size(), path),
                "fetch or export the file again; it may have been cut off on the way");
  }

  std::optional<uint64_t> varint() {
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at_ == open_.back().end) return std::nullopt;
      const auto b = static_cast<uint64_t>(bytes_[at_++]);
      if (shift < 64) v |= (b & 0x7f) << shift;
      if (b < 0x80) return v;
    }
    return std::nullopt;
  }

  Status field() {
    const size_t start = at_, end = open_.back().end;
    const std::optional<uint64_t> tag = varint();
    if (!tag) return error(start, "a field number does not end");
    if (*tag > UINT32_MAX || *tag >> 3 == 0) return error(start, fmt::format("{} is no field number", *tag >> 3));
    switch (*tag & 7) {
      case 0:
        if (!varint()) return error(start, "a number of more than ten bytes, or one that does not end");
        return {};
      case 1:
        return skip(start, 8);
      case 5:
        return skip(start, 4);
      case 2: {
        const std::optional<uint64_t> length = varint();
        if (!length) return error(start, "a length does not end");
        if (*length > end - at_)
          return error(start, fmt::format("field {} announces {} bytes, {} are left", *tag >> 3, *length, end - at_));
        return enter(start, static_cast<uint32_t>(*tag >> 3), static_cast<size_t>(*length));
      }
      case 3:
      case 4:
        return error(start, "it contains a group, which ONNX never uses");
      default:
        return error(start, fmt::format("wire type {} does not exist", *tag & 7));
    }
  }

  Status skip(size_t start, size_t n) {
    if (n > open_.back().end - at_) return error(start, "a number is cut off");
    at_ += n;
    return {};
  }

  Status enter(size_t start, uint32_t field, size_t length) {
    Open& parent = open_.back();
    const Child* c = child_of(parent.kind, field);
    if (!c) {
      at_ += length;
      return {};
    }
    const uint32_t index = parent.seen[field]++;
    if (length == 0 && must_not_be_empty(c->kind)) return error(start, fmt::format("{} {} is empty", c->name, index));
    if (c->kind == Kind::leaf || c->kind == Kind::opset || c->kind == Kind::annotation) {
      at_ += length;
      return {};
    }
    if (open_.size() >= kMaxDepth) return error(start, fmt::format("messages are nested more than {} deep", kMaxDepth));
    open_.push_back({c->kind, at_ + length, c->name, index});
    return {};
  }

  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  std::vector<Open> open_;
};

struct Magic {
  size_t at;
  std::string_view bytes, format, hint;
};

constexpr std::string_view kExportHint = "export the model with torch.onnx.export(model, args, \"model.onnx\")";
constexpr Magic kMagics[] = {
    {0, "PK\x03\x04", "a zip archive, such as torch.save writes", kExportHint},
    {0, "\x80\x02", "a Python pickle, such as an old torch.save writes", kExportHint},
    {0, "\x80\x04", "a Python pickle", kExportHint},
    {4, "TFL3", "a TensorFlow Lite model", "convert it to ONNX first (tf2onnx)"},
    {4, "ORTM", "an ONNX Runtime .ort file", "use the .onnx file that it was made from"},
    {0, "GGUF", "a GGUF file", "export the model to ONNX"},
    {0, "\x89HDF", "an HDF5 (Keras) file", "convert it to ONNX first (tf2onnx)"},
    {0, "\x93NUMPY", "a NumPy array", "a model is a .onnx file"},
    {0, "\x89PNG", "a PNG picture", "a model is a .onnx file"},
    {0, "\xff\xd8\xff", "a JPEG picture", "a model is a .onnx file"},
    {0,
     "\x7f"
     "ELF",
     "an ELF binary, such as fcc writes", "give the .onnx file it was compiled from"},
    {0, "\x1f\x8b", "a gzip archive", "unpack it first"},
    {0, "%PDF", "a PDF document", "a model is a .onnx file"},
    {0, "version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file with: git lfs pull"},
    {0, "<", "an XML or HTML page", "the download may have failed; fetch the file again"},
    {0, "{", "JSON text", "a model is a binary .onnx file"},
    {0, "[", "JSON text", "a model is a binary .onnx file"},
    {0, "ir_version:", "an ONNX model in text form", "convert it with onnx.save_model to the binary form"},
    {8, "{\"", "a safetensors file", "it holds weights only; export the model to ONNX"},
};

const Magic* find_magic(std::span<const std::byte> bytes) {
  const std::string_view s(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 64));
  for (const Magic& m : kMagics)
    if (s.size() >= m.at + m.bytes.size() && s.substr(m.at, m.bytes.size()) == m.bytes) return &m;
  return nullptr;
}

}  // namespace

Status check_wire(std::span<const std::byte> bytes, WireRoot root) {
  return Walker(bytes, root).run();
}

std::string foreign_format(std::span<const std::byte> bytes) {
  const Magic* m = find_magic(bytes);
  return m ? std::string(m->format) : "";
}

std::string foreign_hint(std::span<const std::byte> bytes) {
  const Magic* m = find_magic(bytes);
  return m ? std::string(m->hint) : "";
}

}  // namespace fcc

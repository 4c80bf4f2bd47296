#include "tools/driver/onnx_skeleton.h"

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>

namespace fcc {
namespace {

using Bytes = std::string_view;

// Numbers of onnx.proto.
enum ModelField : uint32_t { kGraph = 7 };
enum GraphField : uint32_t { kNode = 1, kInitializer = 5 };
enum NodeField : uint32_t { kNodeInput = 1, kNodeOutput = 2, kOpType = 4 };
enum TensorField : uint32_t {
  kDims = 1,
  kDataType = 2,
  kFloatData = 4,
  kName = 8,
  kRawData = 9,
  kDoubleData = 10,
  kExternal = 13,
  kLocation = 14
};
constexpr int64_t kProtobufLimit = (int64_t{1} << 31) - 1;

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

struct Field {
  uint32_t number = 0, wire = 0;
  Bytes whole;     // tag to end
  Bytes contents;  // of a length-delimited field
  uint64_t value = 0;
};

// The fields of one message, in order. The importer has checked the bytes before (frontend/onnx/wire.h).
class Fields {
 public:
  explicit Fields(Bytes message) : rest_(message) {}
  bool next(Field* field) {
    if (rest_.empty()) return false;
    const Bytes start = rest_;
    const uint64_t tag = varint();
    *field = {
        .number = static_cast<uint32_t>(tag >> 3), .wire = static_cast<uint32_t>(tag & 7), .whole = {}, .contents = {}};
    if (field->wire == 0) {
      field->value = varint();
    } else {
      size_t bytes = field->wire == 1 ? 8 : field->wire == 5 ? 4 : static_cast<size_t>(varint());
      if (field->wire != 1 && field->wire != 2 && field->wire != 5) bytes = rest_.size() + 1;
      if (bytes > rest_.size()) {
        sound_ = false;
        rest_ = {};
        return false;
      }
      field->contents = rest_.substr(0, bytes);
      rest_.remove_prefix(bytes);
    }
    field->whole = start.substr(0, start.size() - rest_.size());
    return sound_;
  }
  bool sound() const { return sound_; }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    sound_ = false;
    return 0;
  }
  Bytes rest_;
  bool sound_ = true;
};

// Text with gaps; `bytes` is its length with the gaps filled.
struct Pieces {
  struct Gap {
    size_t at;
    uint64_t bytes;
    std::string name;
  };
  std::string text;
  std::vector<Gap> gaps;
  uint64_t bytes = 0;

  void add(Bytes more) {
    text.append(more);
    bytes += more.size();
  }
  void add_gap(std::string name, uint64_t n) {
    gaps.push_back({text.size(), n, std::move(name)});
    bytes += n;
  }
  void add(const Pieces& more) {
    for (const Gap& gap : more.gaps) gaps.push_back({text.size() + gap.at, gap.bytes, gap.name});
    text.append(more.text);
    bytes += more.bytes;
  }
  // A length-delimited field; `original` gives the tag and the length when that has not changed.
  void add_message(const Field& original, const Pieces& contents) {
    const size_t head = original.whole.size() - original.contents.size();
    if (contents.bytes == original.contents.size()) {
      add(original.whole.substr(0, head));
    } else {
      std::string start;
      put_varint(start, uint64_t{original.number} << 3 | 2);
      put_varint(start, contents.bytes);
      add(start);
    }
    add(contents);
  }
};

struct TensorInfo {
  std::string name, location;
  int32_t data_type = 0;
  uint64_t offset = 0, length = 0;
  bool external = false, has_length = false;
};

TensorInfo tensor_info(Bytes tensor) {
  TensorInfo info;
  Fields fields(tensor);
  for (Field f; fields.next(&f);) {
    if (f.number == kName) info.name = std::string(f.contents);
    if (f.number == kDataType) info.data_type = static_cast<int32_t>(f.value);
    if (f.number == kLocation) info.external = f.value == 1;
    if (f.number != kExternal) continue;
    std::string key, value;
    Fields entry(f.contents);
    for (Field e; entry.next(&e);) (e.number == 1 ? key : value) = std::string(e.contents);
    if (key == "location") info.location = value;
    if (key == "offset") info.offset = std::strtoull(value.c_str(), nullptr, 10);
    if (key == "length") info.length = std::strtoull(value.c_str(), nullptr, 10), info.has_length = true;
  }
  return info;
}

Result<std::string> read_external(const std::string& base_dir, const TensorInfo& info) {
  const std::string path = base_dir.empty() ? info.location : base_dir + "/" + info.location;
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const auto size = in ? static_cast<uint64_t>(in.tellg()) : 0;
  const uint64_t length = info.has_length ? info.length : size - std::min(size, info.offset);
  std::string bytes;
  if (!in || info.offset > size || length > size - info.offset)
    return fail(fmt::format("cannot read {} bytes at {} of \"{}\"", length, info.offset, path));
  bytes.resize(length);
  in.seekg(static_cast<std::streamoff>(info.offset));
  in.read(bytes.data(), static_cast<std::streamsize>(length));
  if (!in) return fail(fmt::format("cannot read \"{}\"", path));
  return bytes;
}

class Builder {
 public:
  Builder(const std::string& base_dir, const std::vector<SkeletonState>& states) : base_dir_(base_dir) {
    for (const SkeletonState& s : states) wanted_[s.name] = &s;
  }

  Result<Pieces> model(Bytes bytes) {
    Pieces out;
    Fields fields(bytes);
    for (Field f; fields.next(&f);) {
      if (f.number != kGraph) {
        out.add(f.whole);
        continue;
      }
      FCC_TRY(Pieces contents, graph(f.contents));
      out.add_message(f, contents);
    }
    if (!fields.sound()) return fail("the source model's bytes cannot be walked");
    return out;
  }
  std::vector<std::string> missing() const {
    std::vector<std::string> names;
    for (const auto& [name, state] : wanted_)
      if (!placed_.contains(name)) names.push_back(name);
    return names;
  }

 private:
  static int32_t onnx_type(DType t) { return t == DType::f64 ? 11 : t == DType::f16 ? 10 : t == DType::bf16 ? 16 : 1; }
  static uint64_t bytes_of(const SkeletonState& s) {
    uint64_t n = static_cast<uint64_t>(byte_size(s.dtype));
    for (int64_t d : s.shape) n *= static_cast<uint64_t>(d);
    return n;
  }

  Result<Pieces> graph(Bytes bytes) {
    std::set<std::string> initializers;
    Fields names(bytes);
    for (Field f; names.next(&f);)
      if (f.number == kInitializer) initializers.insert(tensor_info(f.contents).name);
    plan_copies(bytes, initializers);
    size_t node = 0;
    Pieces out;
    Fields fields(bytes);
    for (Field f; fields.next(&f);) {
      if (f.number == kNode && makes_a_state(f.contents, initializers)) continue;
      if (f.number == kNode)
        if (auto renamed = renamed_.find(node++); renamed != renamed_.end()) {
          out.add_message(f, with_inputs(f.contents, renamed->second));
          continue;
        }
      if (f.number != kInitializer) {
        out.add(f.whole);
        continue;
      }
      FCC_TRY(Pieces contents, tensor(f.contents));
      out.add_message(f, contents);
    }
    for (const SkeletonState* s : unmade_) out.add(new_initializer(*s));
    return out;
  }

  // Nodes that shared an initializer and train copies of their own (passes/train): "NAME.1", "NAME.2", ... for its
  // second, third, ... user, "NAME.running_mean" and "NAME.running_var" for a statistic that shared a tensor with a
  // weight.
  void plan_copies(Bytes bytes, const std::set<std::string>& initializers) {
    std::map<std::string, std::vector<size_t>> users;
    size_t node = 0;
    Fields fields(bytes);
    for (Field f; fields.next(&f);) {
      if (f.number != kNode) continue;
      std::vector<std::string> inputs;
      std::string op, output;
      Fields parts(f.contents);
      for (Field p; parts.next(&p);) {
        if (p.number == kNodeInput) inputs.emplace_back(p.contents);
        if (p.number == kNodeOutput) output = std::string(p.contents);
        if (p.number == kOpType) op = std::string(p.contents);
      }
      if (op == "Identity" && wanted_.contains(output) && !initializers.contains(output) && !inputs.empty() &&
          initializers.contains(inputs[0]))
        continue;
      for (const std::string& name : std::set<std::string>(inputs.begin(), inputs.end()))
        if (initializers.contains(name)) users[name].push_back(node);
      for (size_t k = 3; op == "BatchNormalization" && k < std::min<size_t>(inputs.size(), 5); ++k) {
        const std::string copy = inputs[k] + (k == 3 ? ".running_mean" : ".running_var");
        if (wanted_.contains(copy) && !initializers.contains(copy)) add_copy(copy, node, k);
      }
      ++node;
    }
    for (const auto& [name, nodes] : users) {
      for (size_t i = 1; i < nodes.size(); ++i) {
        const std::string copy = fmt::format("{}.{}", name, i);
        if (wanted_.contains(copy) && !initializers.contains(copy)) add_copy(copy, nodes[i], name);
      }
    }
  }
  struct Rename {
    std::optional<size_t> position;  // else every input of this name
    std::string from, to;
  };
  void add_copy(const std::string& copy, size_t node, size_t position) {
    renamed_[node].push_back({position, "", copy});
    unmade_.push_back(wanted_[copy]);
  }
  void add_copy(const std::string& copy, size_t node, const std::string& from) {
    renamed_[node].push_back({std::nullopt, from, copy});
    unmade_.push_back(wanted_[copy]);
  }
  static Pieces with_inputs(Bytes node, const std::vector<Rename>& renames) {
    Pieces out;
    size_t position = 0;
    Fields fields(node);
    for (Field f; fields.next(&f);) {
      const std::string* to = nullptr;
      if (f.number == kNodeInput) {
        for (const Rename& r : renames)
          if (r.position ? *r.position == position : r.from == f.contents) to = &r.to;
        ++position;
      }
      if (to == nullptr) {
        out.add(f.whole);
        continue;
      }
      std::string input;
      put_varint(input, kNodeInput << 3 | 2);
      put_varint(input, to->size());
      out.add(input + *to);
    }
    return out;
  }

  // Identity(initializer) -> a name that is a state of its own: the state becomes an initializer.
  bool makes_a_state(Bytes node, const std::set<std::string>& initializers) {
    std::string op, input, output;
    int inputs = 0, outputs = 0;
    Fields fields(node);
    for (Field f; fields.next(&f);) {
      if (f.number == kOpType) op = std::string(f.contents);
      if (f.number == kNodeInput) input = std::string(f.contents), ++inputs;
      if (f.number == kNodeOutput) output = std::string(f.contents), ++outputs;
    }
    auto state = wanted_.find(output);
    if (op != "Identity" || inputs != 1 || outputs != 1 || state == wanted_.end() || !initializers.contains(input) ||
        initializers.contains(output))
      return false;
    unmade_.push_back(state->second);
    return true;
  }

  Pieces new_initializer(const SkeletonState& s) {
    std::string head;
    for (int64_t d : s.shape) {
      put_varint(head, kDims << 3);
      put_varint(head, static_cast<uint64_t>(d));
    }
    put_varint(head, kDataType << 3);
    put_varint(head, static_cast<uint64_t>(onnx_type(s.dtype)));
    put_varint(head, kName << 3 | 2);
    put_varint(head, s.name.size());
    head += s.name;
    Pieces tensor;
    tensor.add(head);
    payload(tensor, s);
    std::string start;
    put_varint(start, kInitializer << 3 | 2);
    put_varint(start, tensor.bytes);
    Pieces out;
    out.add(start);
    out.add(tensor);
    return out;
  }

  void payload(Pieces& out, const SkeletonState& s) {
    std::string start;
    put_varint(start, kRawData << 3 | 2);
    put_varint(start, bytes_of(s));
    out.add(start);
    out.add_gap(s.name, bytes_of(s));
    placed_.insert(s.name);
  }

  Result<Pieces> tensor(Bytes bytes) {
    const TensorInfo info = tensor_info(bytes);
    auto state = wanted_.find(info.name);
    // A state of another type than the file's (fcc train --dtype f64) cannot be put back.
    const bool moved = state != wanted_.end() && info.data_type == onnx_type(state->second->dtype);
    Pieces out;
    if (!moved && !info.external) {
      out.add(bytes);
      return out;
    }
    bool filled = false;
    Fields fields(bytes);
    for (Field f; fields.next(&f);) {
      if (info.external && (f.number == kExternal || f.number == kLocation)) continue;
      const bool holds = f.wire == 2 && (f.number == kRawData || f.number == kFloatData || f.number == kDoubleData);
      if (!moved || !holds) {
        if (!moved || (f.number != kFloatData && f.number != kDoubleData)) out.add(f.whole);
        continue;
      }
      if (filled) continue;  // payloads may come in several packed parts
      filled = true;
      if (f.contents.size() == bytes_of(*state->second)) {  // the same bytes, whichever field they are in
        out.add(f.whole.substr(0, f.whole.size() - f.contents.size()));
        out.add_gap(info.name, f.contents.size());
        placed_.insert(info.name);
      } else {
        payload(out, *state->second);
      }
    }
    if (moved && !filled) payload(out, *state->second);
    if (!moved) {
      FCC_TRY(std::string data, read_external(base_dir_, info));
      std::string start;
      put_varint(start, kRawData << 3 | 2);
      put_varint(start, data.size());
      out.add(start);
      out.add(data);
    }
    return out;
  }

  std::string base_dir_;
  std::map<std::string, const SkeletonState*> wanted_;
  std::set<std::string> placed_;
  std::vector<const SkeletonState*> unmade_;       // states that become initializers
  std::map<size_t, std::vector<Rename>> renamed_;  // by the node's number, Identity nodes that vanish not counted
};

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string section_of(const Pieces& pieces, std::string_view sha256) {
  std::string names, table, out = "FCCSRC1\n";
  for (const Pieces::Gap& gap : pieces.gaps) {
    put<uint64_t>(table, gap.at);
    put<uint64_t>(table, gap.bytes);
    put<uint64_t>(table, names.size());
    put<uint64_t>(table, gap.name.size());
    names += gap.name;
  }
  std::string hash(sha256);
  hash.resize(64, '0');
  put<uint32_t>(out, static_cast<uint32_t>(pieces.gaps.size()));
  put<uint32_t>(out, 0);
  put<uint64_t>(out, names.size());
  put<uint64_t>(out, pieces.text.size());
  return out + table + hash + names + pieces.text;
}

}  // namespace

Result<OnnxSkeleton> onnx_skeleton(std::span<const std::byte> model, const std::string& base_dir,
                                   const std::vector<SkeletonState>& states, std::string_view source_sha256) {
  Builder builder(base_dir, states);
  OnnxSkeleton skeleton;
  FCC_TRY(Pieces pieces, builder.model({reinterpret_cast<const char*>(model.data()), model.size()}));
  skeleton.missing = builder.missing();
  if (static_cast<int64_t>(pieces.bytes) > kProtobufLimit) {
    skeleton.notes.push_back(
        "the model with its external data is larger than 2 GiB: it cannot be exported as one file");
    return skeleton;
  }
  if (!skeleton.missing.empty())
    skeleton.notes.push_back(
        fmt::format("an export leaves the file's values of {}: the file has no initializer of that name",
                    fmt::join(skeleton.missing, ", ")));
  skeleton.section = section_of(pieces, source_sha256);
  return skeleton;
}

}  // namespace fcc

#include "backend/llvm/elf.h"

#include <elf.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "ir/base/check.h"

namespace fcc {

namespace {

constexpr int64_t kPage = 4096, kCacheLine = 64;
constexpr int64_t kLarge = int64_t{1} << 30;  // beyond this x86-64 needs the large data area
constexpr uint64_t kX86Large = 0x10000000;    // SHF_X86_64_LARGE

int64_t round_up(int64_t v, int64_t to) {
  return (v + to - 1) / to * to;
}

enum Section : uint16_t { kNull, kConstants, kInfo, kStack, kSymbols, kStrings, kNames, kSections };

struct Names {
  std::string text{'\0'};
  uint32_t add(std::string_view name) {
    const auto at = static_cast<uint32_t>(text.size());
    text.append(name).push_back('\0');
    return at;
  }
};

class Out {
 public:
  explicit Out(const ByteSink& sink) : sink_(sink) {}
  bool write(const void* data, int64_t bytes) {
    at_ += bytes;
    return bytes == 0 || sink_(data, static_cast<size_t>(bytes));
  }
  bool pad_to(int64_t offset) {
    static constexpr std::array<char, kPage> kZeros{};
    while (at_ < offset)
      if (!write(kZeros.data(), std::min<int64_t>(kPage, offset - at_))) return false;
    return true;
  }

 private:
  const ByteSink& sink_;
  int64_t at_ = 0;
};

}  // namespace

bool write_data_object(const DataObject& d, const ByteSink& sink,
                       const std::function<bool(const ByteSink&)>& constants) {
  const int64_t bytes = std::max<int64_t>(d.bytes, kCacheLine);  // never an empty symbol
  const int64_t align = bytes >= kPage ? kPage : kCacheLine;
  const bool large = bytes > kLarge && !d.aarch64;
  Names names, strings;
  std::array<Elf64_Shdr, kSections> sections{};
  auto place = [&](Section s, std::string_view name, uint32_t type, uint64_t flags, int64_t offset, int64_t size,
                   int64_t alignment) {
    Elf64_Shdr& h = sections[s];
    h.sh_name = names.add(name);
    h.sh_type = type;
    h.sh_flags = flags;
    h.sh_offset = static_cast<uint64_t>(offset);
    h.sh_size = static_cast<uint64_t>(size);
    h.sh_addralign = static_cast<uint64_t>(alignment);
    return offset + size;
  };
  std::array<Elf64_Sym, 2> symbols{};
  symbols[1].st_name = strings.add(d.symbol);
  symbols[1].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
  symbols[1].st_other = STV_HIDDEN;
  symbols[1].st_shndx = kConstants;
  symbols[1].st_size = static_cast<uint64_t>(bytes);

  int64_t at = round_up(sizeof(Elf64_Ehdr), align);
  const int64_t start = at;
  at = place(kConstants, large ? ".lrodata.fcc" : ".fcc_constants", SHT_PROGBITS, SHF_ALLOC | (large ? kX86Large : 0),
             at, bytes, align);
  at = place(kInfo, ".fcc_info", SHT_PROGBITS, 0, at, static_cast<int64_t>(d.info.size()), 1);
  place(kStack, ".note.GNU-stack", SHT_PROGBITS, 0, at, 0, 1);
  const int64_t symbols_at = round_up(at, 8);
  at = place(kSymbols, ".symtab", SHT_SYMTAB, 0, symbols_at, sizeof(symbols), 8);
  sections[kSymbols].sh_link = kStrings;
  sections[kSymbols].sh_info = 1;
  sections[kSymbols].sh_entsize = sizeof(Elf64_Sym);
  at = place(kStrings, ".strtab", SHT_STRTAB, 0, at, static_cast<int64_t>(strings.text.size()), 1);
  place(kNames, ".shstrtab", SHT_STRTAB, 0, at, 0, 1);
  sections[kNames].sh_size = names.text.size();
  const int64_t headers_at = round_up(at + static_cast<int64_t>(names.text.size()), 8);

  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = d.aarch64 ? EM_AARCH64 : EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_shoff = static_cast<uint64_t>(headers_at);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = kSections;
  header.e_shstrndx = kNames;

  Out out(sink);
  if (!out.write(&header, sizeof(header)) || !out.pad_to(start)) return false;
  int64_t given = 0;
  const ByteSink through = [&](const void* data, size_t n) {
    given += static_cast<int64_t>(n);
    return out.write(data, static_cast<int64_t>(n));
  };
  if (!constants(through)) return false;
  FCC_CHECK(given == d.bytes, "{} bytes of constants instead of {}", given, d.bytes);
  return out.pad_to(start + bytes) && out.write(d.info.data(), static_cast<int64_t>(d.info.size())) &&
         out.pad_to(symbols_at) && out.write(symbols.data(), sizeof(symbols)) &&
         out.write(strings.text.data(), static_cast<int64_t>(strings.text.size())) &&
         out.write(names.text.data(), static_cast<int64_t>(names.text.size())) && out.pad_to(headers_at) &&
         out.write(sections.data(), sizeof(sections));
}

// ---- reading ----------------------------------------------------------------------------------------------------

namespace {

class ElfFile {
 public:
  static Result<ElfFile> open(const std::string& path) {
    ElfFile f;
    f.path_ = path;
    f.in_.open(path, std::ios::binary | std::ios::ate);
    if (!f.in_) return fail(fmt::format("cannot read \"{}\": {}", path, std::strerror(errno)));
    f.size_ = static_cast<uint64_t>(f.in_.tellg());
    Elf64_Ehdr h;
    if (!f.get(0, &h, sizeof(h)) || std::memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
        h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_shentsize != sizeof(Elf64_Shdr))
      return f.bad("it is no 64-bit ELF file");
    f.sections_.resize(h.e_shnum);
    if (!f.get(h.e_shoff, f.sections_.data(), f.sections_.size() * sizeof(Elf64_Shdr)))
      return f.bad("its section table is cut off");
    if (h.e_shstrndx >= f.sections_.size()) return f.bad("it has no section names");
    f.names_ = f.contents(f.sections_[h.e_shstrndx]).value_or("");
    return f;
  }

  const Elf64_Shdr* find(std::string_view name) const {
    for (const Elf64_Shdr& s : sections_)
      if (text_at(names_, s.sh_name) == name) return &s;
    return nullptr;
  }
  static std::string_view text_at(const std::string& table, uint64_t at) {
    if (at >= table.size()) return {};
    return std::string_view(table).substr(at, table.find('\0', at) - at);
  }
  std::optional<std::string> contents(const Elf64_Shdr& s) {
    if (s.sh_type == SHT_NOBITS || s.sh_offset > size_ || s.sh_size > size_ - s.sh_offset) return std::nullopt;
    std::string bytes(s.sh_size, '\0');
    if (!get(s.sh_offset, bytes.data(), bytes.size())) return std::nullopt;
    return bytes;
  }
  std::unexpected<Diagnostic> bad(std::string_view why) const {
    return fail(fmt::format("\"{}\" is not a compiled model: {}", path_, why), {},
                "compile one with: fcc model.onnx -o model.so");
  }

 private:
  bool get(uint64_t offset, void* to, uint64_t bytes) {
    if (offset > size_ || bytes > size_ - offset) return false;
    in_.clear();
    in_.seekg(static_cast<std::streamoff>(offset));
    in_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    return static_cast<bool>(in_);
  }
  std::string path_, names_;
  std::ifstream in_;
  uint64_t size_ = 0;
  std::vector<Elf64_Shdr> sections_;
};

}  // namespace

Result<std::optional<std::string>> read_section(const std::string& path, std::string_view section) {
  FCC_TRY(ElfFile file, ElfFile::open(path));
  const Elf64_Shdr* s = file.find(section);
  if (!s) return std::nullopt;
  std::optional<std::string> bytes = file.contents(*s);
  if (!bytes) return file.bad(fmt::format("section {} lies outside the file", section));
  return bytes;
}

Result<ElfSummary> read_dynamic_symbols(const std::string& path) {
  FCC_TRY(ElfFile file, ElfFile::open(path));
  ElfSummary summary;
  const Elf64_Shdr *table = file.find(".dynsym"), *strings = file.find(".dynstr");
  if (!table || !strings) return summary;
  const std::string symbols = file.contents(*table).value_or(""), names = file.contents(*strings).value_or("");
  for (size_t at = sizeof(Elf64_Sym); at + sizeof(Elf64_Sym) <= symbols.size(); at += sizeof(Elf64_Sym)) {
    Elf64_Sym s;
    std::memcpy(&s, symbols.data() + at, sizeof(s));
    (s.st_shndx == SHN_UNDEF ? summary.undefined : summary.exported).emplace_back(ElfFile::text_at(names, s.st_name));
  }
  return summary;
}

}  // namespace fcc

#include "backend/llvm/elf.h"

#include <elf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "ir/base/check.h"

namespace fcc {

namespace {

int64_t round_up(int64_t v, int64_t to) {
  return (v + to - 1) / to * to;
}

template <class T>
std::string_view raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

bool write_all(int fd, const void* data, size_t bytes, int64_t offset) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::pwrite(fd, p, std::min<size_t>(bytes, size_t{1} << 30), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    offset += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

template <class T>
bool read_at(int fd, T* values, size_t count, uint64_t offset) {
  const auto bytes = static_cast<ssize_t>(count * sizeof(T));
  return ::pread(fd, values, static_cast<size_t>(bytes), static_cast<off_t>(offset)) == bytes;
}

}  // namespace

std::string unloaded_object(bool aarch64, std::string_view section, std::string_view contents) {
  std::string names(1, '\0');
  for (std::string_view name : {section, std::string_view(".note.GNU-stack"), std::string_view(".shstrtab")})
    names.append(name).push_back('\0');
  std::array<Elf64_Shdr, 4> sections{};
  const auto place = [&](Elf64_Shdr& h, std::string_view name, uint32_t type, uint64_t offset, uint64_t size) {
    h.sh_name = static_cast<uint32_t>(names.find(name));
    h.sh_type = type;
    h.sh_offset = offset;
    h.sh_size = size;
    h.sh_addralign = 1;
  };
  const uint64_t names_at = sizeof(Elf64_Ehdr) + contents.size();
  place(sections[1], section, SHT_PROGBITS, sizeof(Elf64_Ehdr), contents.size());
  place(sections[2], ".note.GNU-stack", SHT_PROGBITS, names_at, 0);
  place(sections[3], ".shstrtab", SHT_STRTAB, names_at, names.size());
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = aarch64 ? EM_AARCH64 : EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_shoff = static_cast<uint64_t>(round_up(static_cast<int64_t>(names_at + names.size()), 8));
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = sections.size();
  header.e_shstrndx = 3;
  std::string object;
  object.append(raw(header)).append(contents).append(names);
  object.resize(header.e_shoff);
  return object.append(raw(sections));
}

// Segments start at a new page of addresses and go on where the file is, so nothing is padded.
std::string layout_script(int64_t bytes) {
  return fmt::format(R"(
PHDRS {{
  headers PT_LOAD FILEHDR PHDRS FLAGS(4);
  code PT_LOAD FLAGS(5);
  tables PT_LOAD FLAGS(6);
  dynamic PT_DYNAMIC FLAGS(6);
  relro PT_GNU_RELRO FLAGS(4);
  stack PT_GNU_STACK FLAGS(6);
  constants PT_LOAD FLAGS(4);
}}
SECTIONS {{
  . = SIZEOF_HEADERS;
  .dynsym : {{ *(.dynsym) }} :headers
  .gnu.hash : {{ *(.gnu.hash) }} :headers
  .dynstr : {{ *(.dynstr) }} :headers
  .rela.dyn : {{ *(.rela.dyn) }} :headers
  .rela.plt : {{ *(.rela.plt) }} :headers
  .rodata : {{ *(.rodata .rodata.*) }} :headers
  . = ALIGN(CONSTANT(MAXPAGESIZE)) + (. & (CONSTANT(MAXPAGESIZE) - 1));
  .text : {{ *(.text .text.*) }} :code
  .plt : {{ *(.plt) }} :code
  . = ALIGN(CONSTANT(MAXPAGESIZE)) + (. & (CONSTANT(MAXPAGESIZE) - 1));
  .data.rel.ro : {{ *(.data.rel.ro .data.rel.ro.*) }} :tables :relro
  .dynamic : {{ *(.dynamic) }} :tables :relro :dynamic
  .got : {{ *(.got) }} :tables :relro
  .got.plt : {{ *(.got.plt) }} :tables :relro
  .relro_padding (NOLOAD) : {{ . = ALIGN(CONSTANT(MAXPAGESIZE)); }} :tables :relro
  {0} (NOLOAD) : {{ HIDDEN({1} = .); . += {2}; }} :constants
  .fcc_info 0 : {{ *(.fcc_info) }} :NONE
  .fcc_source 0 : {{ *(.fcc_source) }} :NONE
  /DISCARD/ : {{ *(.comment) *(.note.*) *(.eh_frame) }}
}}
)",
                     kConstantsSection, kConstantsSymbol, std::max<int64_t>(bytes, 64));
}

bool append_constants(int fd, int64_t bytes, const std::function<bool(const ByteSink&)>& constants) {
  Elf64_Ehdr header;
  if (!read_at(fd, &header, 1, 0)) return false;
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  if (!read_at(fd, segments.data(), segments.size(), header.e_phoff) ||
      !read_at(fd, sections.data(), sections.size(), header.e_shoff))
    return false;
  auto segment = std::find_if(segments.begin(), segments.end(),
                              [](const Elf64_Phdr& p) { return p.p_type == PT_LOAD && p.p_filesz == 0; });
  FCC_CHECK(segment != segments.end(), "the linked file has no segment for the constants");
  auto section = std::find_if(sections.begin(), sections.end(), [&](const Elf64_Shdr& s) {
    return s.sh_addr == segment->p_vaddr && (s.sh_flags & SHF_ALLOC);
  });
  FCC_CHECK(section != sections.end() && section->sh_type == SHT_NOBITS,
            "the linked file has no section for the constants");
  const auto end = static_cast<int64_t>(header.e_shoff + sections.size() * sizeof(Elf64_Shdr));
  const int64_t start = round_up(end, static_cast<int64_t>(segment->p_align));
  int64_t at = start;
  const ByteSink sink = [&](const void* data, size_t n) {
    if (!write_all(fd, data, n, at)) return false;
    at += static_cast<int64_t>(n);
    return true;
  };
  if (!constants(sink)) return false;
  FCC_CHECK(at - start == bytes, "{} bytes of constants instead of {}", at - start, bytes);
  static constexpr char kZeros[64] = {};
  const auto placed = static_cast<int64_t>(segment->p_memsz);  // a model without constants has one line of zeros
  if (at - start < placed && !sink(kZeros, static_cast<size_t>(placed - (at - start)))) return false;
  section->sh_type = SHT_PROGBITS;
  section->sh_flags = SHF_ALLOC;
  segment->p_offset = section->sh_offset = static_cast<uint64_t>(start);
  segment->p_filesz = segment->p_memsz;
  return write_all(fd, segments.data(), segments.size() * sizeof(Elf64_Phdr), static_cast<int64_t>(header.e_phoff)) &&
         write_all(fd, sections.data(), sections.size() * sizeof(Elf64_Shdr), static_cast<int64_t>(header.e_shoff));
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
    for (const Elf64_Shdr& s : f.sections_)
      if (!f.has(s)) return f.bad("it is cut short");
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
    if (s.sh_type == SHT_NOBITS) return std::nullopt;
    std::string bytes(s.sh_size, '\0');
    if (!get(s.sh_offset, bytes.data(), bytes.size())) return std::nullopt;
    return bytes;
  }
  std::unexpected<Diagnostic> bad(std::string_view why) const {
    return fail(fmt::format("\"{}\" is not a compiled model: {}", path_, why), {},
                "compile one with: fcc model.onnx -o model.so");
  }

 private:
  bool has(const Elf64_Shdr& s) const {
    return s.sh_type == SHT_NOBITS || (s.sh_offset <= size_ && s.sh_size <= size_ - s.sh_offset);
  }
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

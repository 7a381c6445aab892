#include "tests/emulated_cuda/shared_variables.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

#include "tests/emulated_cuda/block.h"
#include "tests/emulated_cuda/report.h"

namespace emulated {

namespace {

struct Symbol {
  size_t offset, bytes;  // in the program's part of thread-local memory
};

struct Symbols {
  std::vector<Symbol> shared;
  size_t here = 0;
  bool found = false;
};

// Of the symbol table whose section header is `table`.
void collect(const std::vector<char>& file, const Elf64_Shdr& table, const Elf64_Shdr& names,
             Symbols& symbols) {
  const size_t count = table.sh_size / sizeof(Elf64_Sym);
  for (size_t i = 0; i < count; ++i) {
    Elf64_Sym symbol;
    std::memcpy(&symbol, &file[table.sh_offset + i * sizeof symbol], sizeof symbol);
    if (ELF64_ST_TYPE(symbol.st_info) != STT_TLS || symbol.st_shndx == SHN_UNDEF) continue;
    const std::string_view name = &file[names.sh_offset + symbol.st_name];
    if (name == "_ZN8emulated4hereE") {
      symbols.here = symbol.st_value;
      symbols.found = true;
    } else if (name.find("B15emulated_shared") != std::string_view::npos) {
      symbols.shared.push_back({symbol.st_value, symbol.st_size});
    }
  }
}

Symbols read_symbols() {
  std::ifstream program("/proc/self/exe", std::ios::binary);
  const std::vector<char> file{std::istreambuf_iterator<char>(program), {}};
  Symbols symbols;
  Elf64_Ehdr header;
  if (file.size() < sizeof header) return symbols;
  std::memcpy(&header, file.data(), sizeof header);
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  std::memcpy(sections.data(), &file[header.e_shoff], sections.size() * sizeof(Elf64_Shdr));
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type == SHT_SYMTAB) collect(file, section, sections[section.sh_link], symbols);
  }
  return symbols;
}

}  // namespace

SharedVariables::SharedVariables() {
  static const Symbols symbols = read_symbols();
  if (!symbols.found) report("the program's symbols are needed and were stripped");
  auto* base = reinterpret_cast<unsigned char*>(&here) - symbols.here;
  for (const Symbol& symbol : symbols.shared) all_.push_back({base + symbol.offset, symbol.bytes});
}

void SharedVariables::begin_launch() {
  for (const Variable& variable : all_) std::memset(variable.at, 0xff, variable.bytes);
  used_.clear();
  blocks_ = 0;
}

void SharedVariables::begin_block() {
  if (++blocks_ == 2) {
    std::copy_if(all_.begin(), all_.end(), std::back_inserter(used_), [](const Variable& variable) {
      return std::any_of(variable.at, variable.at + variable.bytes,
                         [](unsigned char byte) { return byte != 0xff; });
    });
  }
  for (const Variable& variable : used_) std::memset(variable.at, 0xff, variable.bytes);
}

}  // namespace emulated

#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>

#include "core/json.h"

namespace switchyard {

// Cells of a table (RFC 4180 but for the line's end, which is a line feed): quoted where they have
// to be; a number as the shortest text that reads back to the same bits.
std::string csv_cell(std::string_view text);
std::string csv_number(double value);  // "nan" for one that is not finite
// What stands under a name of a line of metrics.jsonl: empty where it is not there, "nan" for null.
std::string csv_value(const Json& line, const char* name);

// A table that is written row by row under another name and has its own once it is whole. Throws
// Error where it cannot be written.
class CsvFile {
 public:
  CsvFile(const std::filesystem::path& file, std::string_view header);
  ~CsvFile();  // without finish() nothing is left
  CsvFile(const CsvFile&) = delete;
  CsvFile& operator=(const CsvFile&) = delete;

  void row(std::initializer_list<std::string_view> cells);  // made by the functions above
  void finish();

 private:
  std::filesystem::path file_;
  std::ofstream stream_;
  bool finished_ = false;
};

}  // namespace switchyard

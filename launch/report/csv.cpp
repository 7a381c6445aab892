#include "launch/report/csv.h"

#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "launch/path/options.h"

namespace fs = std::filesystem;

namespace switchyard {

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string cell = "\"";
  for (const char letter : text) cell += letter == '"' ? "\"\"" : std::string(1, letter);
  return cell + '"';
}

std::string csv_number(double value) {
  return std::isfinite(value) ? canonical_real(value) : "nan";
}

std::string csv_value(const Json& line, const char* name) {
  const auto found = line.find(name);
  if (found == line.end()) return "";
  if (found->is_null()) return "nan";
  if (found->is_number_integer()) return std::to_string(found->get<int64_t>());
  if (found->is_number()) return csv_number(found->get<double>());
  if (found->is_boolean()) return found->get<bool>() ? "1" : "0";
  return csv_cell(found->is_string() ? found->get<std::string>() : json_text_replacing(*found));
}

CsvFile::CsvFile(const fs::path& file, std::string_view header)
    : file_(file), stream_(temporary_of(file), std::ios::binary | std::ios::trunc) {
  stream_ << header << '\n';
  check(stream_.good(), "file", "{} cannot be written", temporary_of(file_).string());
}

CsvFile::~CsvFile() {
  if (finished_) return;
  std::error_code ignored;
  stream_.close();
  fs::remove(temporary_of(file_), ignored);
}

void CsvFile::row(std::initializer_list<std::string_view> cells) {
  for (const auto& cell : cells) stream_ << (&cell == cells.begin() ? "" : ",") << cell;
  stream_ << '\n';
}

void CsvFile::finish() {
  stream_.close();
  check(stream_.good(), "file", "{} cannot be written", temporary_of(file_).string());
  std::error_code problem;
  fs::rename(temporary_of(file_), file_, problem);
  check(!problem, "file", "{} cannot be written: {}", file_.string(), problem.message());
  finished_ = true;
}

}  // namespace switchyard

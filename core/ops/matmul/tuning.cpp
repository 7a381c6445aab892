#include "core/ops/matmul/tuning.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"

namespace switchyard::ops {

namespace {

constexpr std::string_view where = "matmul tuning";
constexpr std::string_view format_name = "switchyard matmul tuning";
constexpr int format_version = 1;

Json json_of(const TuningIdentity& identity) {
  return {{"format", format_name},
          {"version", format_version},
          {"device", identity.device},
          {"multiprocessors", identity.multiprocessors},
          {"cublaslt", identity.cublaslt},
          {"cuda", identity.cuda},
          {"workspace_bytes", identity.workspace_bytes}};
}

TuningIdentity identity_of(const Json& line) {
  check(line.at("format") == format_name, where, "the format is {}; '{}' is allowed",
        json_text(line.at("format")), format_name);
  check(line.at("version") == format_version, where, "the version is {}; {} is allowed",
        json_text(line.at("version")), format_version);
  return {line.at("device"), line.at("multiprocessors"), line.at("cublaslt"), line.at("cuda"),
          line.at("workspace_bytes")};
}

// The fields of a product under their names; `visit` is called with each.
template <class Product, class Visit>
void for_fields(Product& p, const Visit& visit) {
  visit("m", p.m);
  visit("n", p.n);
  visit("k", p.k);
  visit("row_a", p.row_a);
  visit("row_b", p.row_b);
  visit("row_c", p.row_c);
  visit("row_gelu", p.row_gelu);
  visit("inputs", p.inputs);
  visit("output", p.output);
  visit("transpose_a", p.transpose_a);
  visit("transpose_b", p.transpose_b);
  visit("accumulate", p.accumulate);
  visit("bias", p.bias);
  visit("gelu_input", p.gelu_input);
  visit("gelu_gradient", p.gelu_gradient);
  visit("row_sums", p.row_sums);
  visit("tf32", p.tf32);
  visit("align_a", p.align_a);
  visit("align_b", p.align_b);
  visit("align_c", p.align_c);
  visit("align_gelu", p.align_gelu);
}

std::string hexadecimal(const MatmulAlgorithm& algorithm) {
  std::string text;
  for (const uint64_t word : algorithm) text += fmt::format("{:016x}", word);
  return text;
}

MatmulAlgorithm algorithm_of(const std::string& text) {
  MatmulAlgorithm algorithm{};
  const bool digits = text.find_first_not_of("0123456789abcdef") == std::string::npos;
  check(digits && text.size() == 16 * algorithm.size(), where,
        "the algorithm is '{}'; {} hexadecimal digits are allowed", text, 16 * algorithm.size());
  for (size_t i = 0; i < algorithm.size(); ++i) {
    algorithm[i] = parse_hexadecimal(text.substr(16 * i, 16)).value();
  }
  return algorithm;
}

Json json_of(const MatmulProduct& product, const MatmulChoice& choice) {
  Json line;
  for_fields(product, [&](const char* name, const auto& field) {
    if constexpr (std::is_same_v<decltype(field), const DType&>) {
      line[name] = name_of(field);
    } else {
      line[name] = field;
    }
  });
  line["fusion"] = name_of(choice.fusion);
  line["algorithm"] = hexadecimal(choice.algorithm);
  line["microseconds"] = choice.microseconds;
  line["heuristic_microseconds"] = choice.heuristic_microseconds;
  line["candidates"] = choice.candidates;
  return line;
}

void read_choice(const Json& line, MatmulTuning& table) {
  MatmulProduct product;
  for_fields(product, [&](const char* name, auto& field) {
    if constexpr (std::is_same_v<decltype(field), DType&>) {
      field = dtype_named(line.at(name).get<std::string>());
    } else {
      line.at(name).get_to(field);
    }
  });
  check(table.find(product) == nullptr, where, "{} stands here twice", product.to_string());
  table.set(product,
            {fusion_named(line.at("fusion").get<std::string>()), algorithm_of(line.at("algorithm")),
             line.at("microseconds"), line.at("heuristic_microseconds"), line.at("candidates")});
}

}  // namespace

std::string TuningIdentity::to_string() const {
  return fmt::format("{} with {} multiprocessors, cuBLASLt {}, CUDA {}, {} bytes of workspace",
                     device, multiprocessors, cublaslt, cuda, workspace_bytes);
}

MatmulTuning MatmulTuning::parse(std::string_view text, std::string_view name) {
  std::optional<MatmulTuning> table;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    try {
      const Json json = parse_json(line);
      if (table) {
        read_choice(json, *table);
      } else {
        table.emplace(identity_of(json));
      }
    } catch (const std::exception& error) {
      fail(where,
           "{}, line {}, is no line of a table: {}; without the file products are timed anew", name,
           number, error.what());
    }
  }
  check(table.has_value(), where, "{} is empty; a table begins with a line of its identity", name);
  return *std::move(table);
}

MatmulTuning MatmulTuning::load(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  check(in.is_open() && !in.bad(), where, "{} cannot be read", file.string());
  return parse(text.str(), file.string());
}

std::string MatmulTuning::to_text() const {
  std::string text = json_text(json_of(identity_)) + "\n";
  for (const auto& [product, choice] : choices_) text += json_text(json_of(product, choice)) + "\n";
  return text;
}

void MatmulTuning::save(const std::filesystem::path& file) const {
  write_file_atomically(file, to_text(), where);
}

std::string MatmulTuning::why_not(const TuningIdentity& here) const {
  if (identity_ == here) return {};
  return fmt::format("the table was timed on {}; this is {}", identity_.to_string(),
                     here.to_string());
}

const MatmulChoice* MatmulTuning::find(const MatmulProduct& product) const {
  const auto found = choices_.find(product);
  return found == choices_.end() ? nullptr : &found->second;
}

void MatmulTuning::set(const MatmulProduct& product, const MatmulChoice& choice) {
  choices_.insert_or_assign(product, choice);
}

std::vector<MatmulProduct> MatmulTuning::lacks(std::span<const MatmulProduct> products) const {
  std::vector<MatmulProduct> missing;
  for (const MatmulProduct& product : products) {
    const bool known = find(product) != nullptr ||
                       std::find(missing.begin(), missing.end(), product) != missing.end();
    if (!known) missing.push_back(product);
  }
  return missing;
}

}  // namespace switchyard::ops

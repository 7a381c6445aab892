#include <array>
#include <filesystem>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "data/dataset_writer.h"
#include "data/input_file.h"
#include "data/json_text.h"
#include "data/progress.h"
#include "data/tokenizer.h"

namespace switchyard {

namespace {

constexpr size_t piece_bytes = size_t{1} << 20;

// Behind a folder's name the endings alone would be hidden files.
void check_prefix(const std::string& prefix) {
  check(!prefix.empty(), "tokenize", "no output prefix was given");
  const auto name = std::filesystem::path(prefix).filename();
  check(!name.empty() && name != "." && name != "..", "tokenize",
        "the output prefix '{0}' names a folder; the beginning of a file's name is needed behind "
        "it, such as {0}{1}text",
        prefix, name.empty() ? "" : "/");
}

// Writing a set over a file that is being read would destroy it.
void check_not_output(const std::string& input, const std::string& prefix) {
  for (const char* ending : {".bin", ".idx", ".json"}) {
    for (const char* temporary : {"", ".partial"}) {
      const std::string output = prefix + ending + temporary;
      std::error_code missing;
      check(!std::filesystem::equivalent(input, output, missing), "tokenize",
            "the input {} is also the output {}; give another output prefix", input, output);
    }
  }
}

// Checks every input before anything is written; returns the bytes of all, if each tells.
std::optional<int64_t> check_options(const TokenizeOptions& options) {
  check(!options.inputs.empty(), "tokenize", "no input file was given; one or more is needed");
  check_prefix(options.output_prefix);
  std::optional<int64_t> total = 0;
  for (const std::string& input : options.inputs) {
    const std::optional<int64_t> size = input_size(input);
    check_not_output(input, options.output_prefix);
    total = total && size ? std::optional(*total + *size) : std::nullopt;
  }
  return total;
}

// The prefix, whose folder is made when it is missing.
const std::string& with_folder(const std::string& prefix) {
  const auto folder = std::filesystem::path(prefix).parent_path();
  if (!folder.empty()) make_folder(folder, "tokenize");
  return prefix;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

class Job {
 public:
  Job(const TokenizeOptions& options, std::optional<int64_t> total_bytes)
      : options_(options),
        tokenizer_(make_tokenizer(options.tokenizer)),
        writer_(with_folder(options.output_prefix), tokenizer_->vocabulary()),
        progress_("tokenize", total_bytes, options.progress) {}

  void add(const std::string& path) {
    InputFile file(path);
    options_.json_key.empty() ? add_text(file) : add_json_lines(file);
  }

  TokenizeResult finish() {
    check(result_.documents > 0, "tokenize",
          "the {} input files hold no text: there is nothing to "
          "write",
          options_.inputs.size());
    DatasetInfo info;
    info.tokenizer = tokenizer_->name();
    info.end_of_document = options_.append_end_of_document ? tokenizer_->end_of_document() : -1;
    info.text_bytes = result_.text_bytes;
    writer_.finish(info);
    result_.tokens = writer_.tokens();
    return result_;
  }

 private:
  void add_text(InputFile& file) {
    std::string pending;
    while (const size_t got = file.read(pending, piece_bytes)) {
      const size_t ready = tokenizer_->settled(pending);
      encode(std::string_view(pending).substr(0, ready));
      pending.erase(0, ready);
      progress_.add(static_cast<int64_t>(got));
    }
    encode(pending);
    end_document();
  }

  void add_json_lines(InputFile& file) {
    LineReader lines(file);
    while (const auto line = lines.next()) {
      progress_.add(static_cast<int64_t>(line->size()) + 1);
      if (is_blank(*line)) continue;
      encode(json_text(*line, options_.json_key, file.path(), lines.number()));
      end_document();
    }
  }

  void encode(std::string_view text) {
    tokens_.clear();
    tokenizer_->encode(text, tokens_);
    writer_.append(tokens_);
    result_.text_bytes += static_cast<int64_t>(text.size());
  }

  void end_document() {
    if (writer_.document_tokens() == 0) {
      ++result_.empty_documents;
      return;
    }
    if (options_.append_end_of_document) {
      writer_.append(std::array{tokenizer_->end_of_document()});
    }
    writer_.end_document();
    ++result_.documents;
  }

  const TokenizeOptions& options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  DatasetWriter writer_;
  Progress progress_;
  TokenizeResult result_;
  std::vector<int32_t> tokens_;
};

}  // namespace

TokenizeResult tokenize(const TokenizeOptions& options) {
  const std::optional<int64_t> total_bytes = check_options(options);
  Job job(options, total_bytes);
  for (const std::string& input : options.inputs) job.add(input);
  return job.finish();
}

}  // namespace switchyard

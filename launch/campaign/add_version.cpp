#include "launch/campaign/add_version.h"

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "core/text.h"
#include "launch/campaign/agreement.h"
#include "launch/campaign/campaign.h"
#include "launch/path/blend.h"
#include "launch/path/file_lock.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// A TOML basic string.
std::string quoted(const std::string& text) {
  std::string all = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') all += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      all += fmt::format("\\u{:04X}", c);
    else
      all += c;
  }
  return all + '"';
}

std::string seen_from(const fs::path& file, const std::string& prefix) {
  check(!prefix.empty(), "campaign", "''; the prefix of a token set is allowed");
  const fs::path there = fs::absolute(prefix).lexically_normal();
  return there.lexically_relative(fs::weakly_canonical(fs::absolute(file)).parent_path()).string();
}

std::string data_line(const fs::path& file, const std::vector<std::string>& data) {
  if (data.size() == 1) return quoted(seen_from(file, data[0]));
  std::string list;
  for (size_t i = 0; i < data.size(); ++i) {
    const bool is_weight = i % 2 == 0 && parse_number<double>(data[i]).has_value();
    list += (i > 0 ? ", " : "") + quoted(is_weight ? data[i] : seen_from(file, data[i]));
  }
  return '[' + list + ']';
}

std::string table_of(const fs::path& file, const NewVersion& version) {
  std::string text =
      fmt::format("\n[[version]]\nname = {}\nsteps = {}\ndata-path = {}\n", quoted(version.name),
                  version.steps, data_line(file, version.data));
  if (version.share) text += fmt::format("share = {}\n", canonical_real(*version.share));
  for (const auto& set : version.held_out) {
    const size_t sign = set.find('=');
    check(sign != std::string::npos && sign > 0 && sign + 1 < set.size(), "campaign",
          "--held-out {}; NAME=PREFIX is allowed", set);
    text += fmt::format("held-out.{} = {}\n", quoted(set.substr(0, sign)),
                        quoted(seen_from(file, set.substr(sign + 1))));
  }
  return text;
}

// A campaign that runs would leave out a file with data that are not there.
void check_sets(const NewVersion& version) {
  for (const auto& source : parse_sources(version.data))
    check_token_set("--data-path", source.prefix);
  for (const auto& set : version.held_out)
    check_token_set("--held-out " + set, set.substr(set.find('=') + 1));
}

}  // namespace

void add_version(const fs::path& file, const NewVersion& version) {
  const fs::path real = fs::canonical(file);  // a link stays one
  const FileLock lock(real.string() + ".lock", std::chrono::seconds(30));
  check(lock.held(), "campaign", "{} is being changed by another process", file.string());
  std::string text = read_file(real);
  parse_campaign(text, file);
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  text += table_of(file, version);
  const auto campaign = parse_campaign(text, file);
  check_sets(version);
  write_file_atomically(real, text);
  log::info("{}: version {} has {} steps, up to step {}", file.string(), version.name,
            version.steps, campaign.end_of(campaign.versions.size() - 1));
}

}  // namespace switchyard

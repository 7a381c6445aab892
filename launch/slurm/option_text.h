#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// The words of --srun-options, as a shell splits them: quotes and backslashes hold a space. Throws
// Error for a quote or a backslash that is left open.
std::vector<std::string> words_of_options(const std::string& text);

// The seconds of a time limit in one of Slurm's forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S. 0, as
// UNLIMITED and INFINITE: none. Nothing for other text.
std::optional<int64_t> seconds_of_limit(std::string_view text);

// Throws Error for other text, and for a limit that the signal which asks to save, `seconds` before
// its end, leaves no time of. `limit` and `signal`: what the two are called.
void check_limit(const std::string& area, const std::string& limit, const std::string& text,
                 const std::string& signal, int64_t seconds);

}  // namespace switchyard

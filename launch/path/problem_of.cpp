#include "launch/path/problem_of.h"

namespace switchyard {

std::optional<Error> problem_of(const std::function<void()>& body) {
  try {
    body();
    return std::nullopt;
  } catch (const Error& error) {
    if (error.code() == ExitCode::stopped) throw;
    return error;
  } catch (const std::exception& error) {  // JSON that is none
    return Error(error.what(), ExitCode::storage);
  }
}

}  // namespace switchyard

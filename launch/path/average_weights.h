#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

// What each of n checkpoints counts for in an average, in their order; the numbers add up to 1.
//   uniform             1/n each
//   ema:B               m = x_0, then m = B m + (1 - B) x_j: B^(n-1), then (1 - B) B^(n-1-j)
//   linear, cosine,     a decay that was never run (arXiv 2507.17634): the updates between
//   1-sqrt              checkpoints j - 1 and j get the factor w_j = f(j/n), j = 1 ... n - 1, of
//                       the decay f of optim/schedule.h over n steps, so c_0 = 1 - w_1,
//                       c_j = w_j - w_(j+1) and c_(n-1) = w_(n-1). Linear is uniform.
//   0.2,0.3,0.5         as given; they must add up to 1 within 1e-6 and are divided by their sum
// steps: of the checkpoints; an ema and a decay follow one path, a decay in even steps. Throws
// Error naming --weights-of.
struct AverageSteps {
  std::vector<int64_t> steps;
  bool of_one_path = true;
};
std::vector<double> average_coefficients(const std::string& weights_of, const AverageSteps& of);

std::string show_coefficients(const std::vector<double>& coefficients);  // six digits each

}  // namespace switchyard

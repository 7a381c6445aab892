#include "core/ops/cross_entropy.h"

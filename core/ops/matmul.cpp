#include "core/ops/matmul.h"

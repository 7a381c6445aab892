#include "core/ops/dropout.h"

#include "core/ops/elementwise.h"

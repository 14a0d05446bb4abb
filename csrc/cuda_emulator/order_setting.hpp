// The environment variables VLTR_EMULATOR_DEFER and VLTR_EMULATOR_ORDER: forward, reverse or a seed.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vltr::emulator {

// Returns the value of a variable, empty if it is not set. Any other text ends the program: read as a seed, a misspelt
// order would be random without a word.
inline const char* read_order(const char* variable) {
  const char* const order = std::getenv(variable);
  if (order == nullptr) return "";
  const bool is_seed = order[std::strspn(order, "0123456789")] == '\0';
  if (is_seed || std::strcmp(order, "forward") == 0 || std::strcmp(order, "reverse") == 0) return order;
  std::fprintf(stderr, "CUDA emulator: %s: expected forward, reverse or a seed, got %s\n", variable, order);
  std::fflush(stderr);
  std::abort();
}

}  // namespace vltr::emulator

#include <limits>
#include <type_traits>

#include "cpu/scan_tile.hpp"

namespace vltr::cpu::generic {
#include "cpu/pack_generic.hpp"
#include "cpu/scan_tile.inl"
}  // namespace vltr::cpu::generic

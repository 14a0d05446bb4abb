// The keyed permutation of sampled AP: nanoseconds per draw.
#include "bench/bench.hpp"
#include "cpu/draws.hpp"

int main(int argc, char** argv) {
  using namespace vltr;
  constexpr std::uint32_t kDraws = 1u << 16;
  constexpr std::uint32_t kNegatives = 1000000;
  cpu::Runner runner = bench::runner_of(argc, argv);
  runner.threads = 1;
  const cpu::DrawNumbers draw_numbers = cpu::draw_numbers_kernel();
  const KeyedPermutation permutation = keyed_permutation(kNegatives, 1, 2, 3);
  std::vector<std::uint32_t> numbers(kDraws);
  const double seconds = bench::median_seconds([&] { draw_numbers(permutation, kDraws, numbers.data()); });
  bench::print("draw_numbers", "2^16 of 1000000 negatives", runner, seconds * 1e9 / kDraws, "ns/draw");
}

// Sampled AP class by class, for classes with many draws. It is cheaper to read the column of such a class once than to
// read each drawn score. Trials that draw a large part of the negatives mark their draws (trial_marks.hpp); other
// trials look each draw up in the searched column.
#pragma once

#include "cpu/draws.hpp"
#include "cpu/rank_scan.hpp"

namespace vltr::cpu {

// True if the list of all draws fits in an eighth of the matrix's bytes, or in 32 MiB. The rank
// scan then looks them up.
bool draws_fit_in_pass(const Matrix& scores, const Positives& positives, std::int64_t trials);

// Samples the given classes, which must ascend, by marks. AP of trial t and class c goes to out[t * C + c]. Scratch:
// 16 bytes a row (24 for 8-byte lanes) for as many classes as fit in 32 MiB, or for one class a thread if that is more;
// and 32 MiB, or two bytes a row if that is more, for each thread.
template <class T>
void mark_trials(const Matrix& scores, const Positives& positives, const RankTable& table,
                 const Array<std::int64_t>& classes, std::int64_t trials, std::uint64_t seed, double* out,
                 const Runner& runner);

// Samples the given classes, each in the way that is faster. Scratch: that of mark_trials(), and up to 32 MiB, or one
// column of counts per thread if that is more.
template <class T>
void sample_columns(const Matrix& scores, const Positives& positives, const RankTable& table,
                    const Array<std::int64_t>& classes, std::int64_t trials, std::uint64_t seed, double* out,
                    const Runner& runner);

}  // namespace vltr::cpu

// Ends what target_begin.hpp began.
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef VLTR_PRAGMA
#undef VLTR_PRAGMA_TEXT
#undef VLTR_TARGET

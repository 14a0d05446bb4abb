// Ends the region that target_begin.inl began.
#if defined(VLTR_TARGET)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

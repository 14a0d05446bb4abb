// Compiles the code until target_end.inl for the instruction sets in VLTR_TARGET, if that is defined.
//
// Include headers before this file. Their inline functions then have no instructions that the running CPU may lack, and
// the linker can keep any copy of them.
#if defined(VLTR_TARGET)
#define VLTR_PRAGMA_TEXT(text) _Pragma(#text)
#define VLTR_PRAGMA(text) VLTR_PRAGMA_TEXT(text)
#if defined(__clang__)
VLTR_PRAGMA(clang attribute push(__attribute__((target(VLTR_TARGET))), apply_to = function))
#else
_Pragma("GCC push_options") VLTR_PRAGMA(GCC target(VLTR_TARGET))
#endif
#undef VLTR_PRAGMA
#undef VLTR_PRAGMA_TEXT
#endif

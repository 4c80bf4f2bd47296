# Finds LLVM's OpenMP runtime as fcc::libomp. FindOpenMP would find the compiler's own, which for g++ is libgomp.
file(GLOB FCC_LIBOMP_FOLDERS /usr/lib/llvm-*/lib)
list(SORT FCC_LIBOMP_FOLDERS COMPARE NATURAL ORDER DESCENDING)
find_library(FCC_LIBOMP NAMES omp iomp5 libomp.so.5 PATHS ${FCC_LIBOMP_FOLDERS})
mark_as_advanced(FCC_LIBOMP)
if(FCC_LIBOMP AND NOT TARGET fcc::libomp)
  add_library(fcc::libomp SHARED IMPORTED GLOBAL)
  set_target_properties(fcc::libomp PROPERTIES IMPORTED_LOCATION ${FCC_LIBOMP})
endif()

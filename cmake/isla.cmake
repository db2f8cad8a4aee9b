# Helpers for the folders' CMakeLists.txt. Every library and test is made by one of these, so that
# warnings, sanitizers and the layer rules (layers.cmake) hold everywhere.
include(${CMAKE_CURRENT_LIST_DIR}/layers.cmake)

set(ISLA_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor
    -Werror=unused-result)
# GCC 12 sees uninitialised members in std::variant where there are none (gcc bug 80635 and its kin).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND ISLA_WARNINGS -Wno-maybe-uninitialized)
endif()
if(ISLA_WERROR)
  list(APPEND ISLA_WARNINGS -Werror)
endif()

function(isla_target_defaults target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE ${ISLA_WARNINGS})
  if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
    # GCC 12's std::stable_sort uses what its own headers call deprecated.
    target_compile_options(${target} PRIVATE -Wthread-safety -Wno-nullability-extension -Wno-deprecated-declarations)
  endif()
  # Headers are included by their path from the root of the project: "store/store.h".
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
endfunction()

# isla_add_library(name SOURCES a.cc... [USES isla_x...] [PUBLIC lib...] [PRIVATE lib...])
# USES are the project's own libraries (checked against layers.cmake); PUBLIC and PRIVATE are others'.
function(isla_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES;PUBLIC;PRIVATE" ${ARGN})
  foreach(used ${ARG_USES})
    if(NOT used IN_LIST ISLA_LAYER_${name})
      message(FATAL_ERROR "${name} may not use ${used}: see cmake/layers.cmake")
    endif()
  endforeach()
  foreach(other ${ARG_PUBLIC} ${ARG_PRIVATE})
    if(other MATCHES "^isla")
      message(FATAL_ERROR "${name}: list ${other} under USES")
    endif()
  endforeach()
  add_library(${name} STATIC ${ARG_SOURCES})
  string(REPLACE "isla_" "isla::" alias ${name})
  add_library(${alias} ALIAS ${name})
  isla_target_defaults(${name})
  target_link_libraries(${name} PUBLIC ${ARG_USES} ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# isla_add_executable(name SOURCES main.cc LIBRARIES isla_x...)
function(isla_add_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  isla_target_defaults(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# For the folders whose code lean programs are made of: the linker can leave out, and put side by side, what has a section of its own. In
# files' sections a start touched 41 pieces of 64 KiB of isla-box, by functions a third of them.
macro(isla_sections_for_functions)
  add_compile_options(-ffunction-sections)
endmacro()

# isla_add_lean_executable(name SOURCES main.cc LIBRARIES isla_x... [SHARED lib...])
# A program that is started often and must start fast. It takes the archives of the project's libraries, all of
# them named in the order of linking, and static versions of what those need; SHARED are the only shared libraries
# besides C's own; with none it is wholly static. Loading the dozens of shared libraries that the targets' own link
# lists bring costs more than the program's work (isla --help: 6.8 ms instead of 2.5; the
# sanitizers need the shared ones).
function(isla_add_lean_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES;SHARED" ${ARGN})
  if(ISLA_SANITIZE)
    isla_add_executable(${name} SOURCES ${ARG_SOURCES} LIBRARIES ${ARG_LIBRARIES} ${ARG_SHARED})
    return()
  endif()
  isla_add_executable(${name} SOURCES ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/api/base/fmt_static.cc)
  foreach(library ${ARG_LIBRARIES})
    add_dependencies(${name} ${library})
    target_link_libraries(${name} PRIVATE $<TARGET_FILE:${library}>)
  endforeach()
  pkg_check_modules(ABSL_STATIC REQUIRED QUIET absl_status absl_statusor)
  target_link_libraries(${name} PRIVATE -Wl,-Bstatic ${ABSL_STATIC_STATIC_LIBRARIES} yajl_s md lua5.4)
  target_link_options(${name} PRIVATE -Wl,--gc-sections)
  # What runs once, before main(), stands together: else each file's part of it brings its own 64 KiB of the program into memory.
  if(LLD)
    target_link_options(${name} PRIVATE -Wl,-z,keep-text-section-prefix)
  endif()
  if(ARG_SHARED)
    target_link_libraries(${name} PRIVATE -Wl,-Bdynamic ${ARG_SHARED})
    target_link_options(${name} PRIVATE -static-libstdc++ -static-libgcc -Wl,--as-needed)
  else()
    target_link_options(${name} PRIVATE -static)
  endif()
endfunction()

# isla_add_test(name LABEL unit|conformance|fault|e2e|fuzz-replay SOURCES a_test.cc... LIBRARIES lib...
#               [TIMEOUT seconds] [SERIAL] [NO_MAIN] [CELL] [ONE_THREAD])
# One gtest executable, one ctest entry. SERIAL: it loads the machine, run it alone. CELL: it needs a systemd,
# and is run in a private one (tests/cluster/cell.sh). ONE_THREAD (as all of fuzz-replay): neither the test nor what it tests
# has a second thread, so the thread sanitizer's build leaves it out.
function(isla_add_test name)
  if(NOT ISLA_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "SERIAL;NO_MAIN;CELL;ONE_THREAD" "LABEL;TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  if(ISLA_SANITIZE STREQUAL "thread" AND (ARG_ONE_THREAD OR ARG_LABEL STREQUAL "fuzz-replay"))
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  isla_target_defaults(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gmock)
  if(NOT ARG_NO_MAIN)
    target_link_libraries(${name} PRIVATE GTest::gmock_main)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  if(ARG_CELL)
    add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/cluster/cell.sh run -- $<TARGET_FILE:${name}>)
  else()
    add_test(NAME ${name} COMMAND ${name})
  endif()
  # What the sanitizer builds build and run.
  if(ARG_LABEL MATCHES "^(unit|conformance|fuzz-replay)$")
    if(NOT TARGET sanitized_tests)
      add_custom_target(sanitized_tests)
    endif()
    add_dependencies(sanitized_tests ${name})
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(ISLA_SANITIZE)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 4")  # several times as slow, on machines that may be busy
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT})
  set_property(TEST ${name} PROPERTY ENVIRONMENT
    "ISLA_BIN_DIR=${PROJECT_BINARY_DIR}/bin;ISLA_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp:halt_on_error=1"
    "ASAN_OPTIONS=detect_leaks=1" "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1")
  if(ARG_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()
